"What tests know of pictures, and a folder of them as a user has one."

from tutorial_lib.sample import sample

CIFAR10_CLASSES = "airplane automobile bird cat deer dog frog horse ship truck".split()
BREEDS = ["patched_round", "spotted_pointy", "striped_round"]


def draw(folder, n, breeds=BREEDS):
    "Make the folder, with `n` pictures of 32 pixels. Returns it."
    flat = sample(folder.with_name("flat"), n, 32, breeds=breeds)
    for file in sorted(flat.glob("*.jpg")):
        breed = folder / file.name.rpartition("_")[0]
        breed.mkdir(parents=True, exist_ok=True)
        file.rename(breed / file.name)
    return folder
