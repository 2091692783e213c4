"What keeps some readers out of a page, as axe finds it."

from axe_playwright_python.sync_playwright import Axe

AXE = {
    "resultTypes": ["violations"],
    "rules": {"label-content-name-mismatch": {"enabled": True}},  # experimental there
    "preload": False,  # it would fetch each style sheet again
}


def barriers(tab, theme="light"):
    """What axe finds that keeps some readers out: rule and first place.

    The dark page differs in its colors only.
    """
    only = {"runOnly": ["color-contrast"]} if theme == "dark" else {}
    found = Axe().run(tab, options=AXE | only).response["violations"]
    return [f"{rule['id']}: {rule['nodes'][0]['html'][:160]}" for rule in found]
