"What keeps some readers out of a page, as axe finds it."

from axe_playwright_python.sync_playwright import Axe

AXE = {
    "resultTypes": ["violations"],
    "rules": {"label-content-name-mismatch": {"enabled": True}},  # experimental there
    "preload": False,  # it would fetch each style sheet again
}
CONTRAST = {**AXE, "runOnly": ["color-contrast"]}


def barriers(tab, theme="light"):
    """What axe finds that keeps some readers out: rule and first place.

    The dark page differs in its colors only.
    """
    return found(tab, CONTRAST if theme == "dark" else AXE)


def barriers_but_contrast(tab):
    "The same without axe's contrasts, which take most of its time."
    rules = AXE["rules"] | {"color-contrast": {"enabled": False}}
    return found(tab, AXE | {"rules": rules})


def found(tab, options):
    violations = Axe().run(tab, options=options).response["violations"]
    return [f"{rule['id']}: {rule['nodes'][0]['html'][:160]}" for rule in violations]
