"""Count things in pictures by density maps, with the squared error and with the pyramid loss; then a search.

The things are scikit-learn's handwritten digits, real images at several scales on synthetic canvases.

Run: python examples/count_things.py    (under three minutes; no download)
Expect: a quarter of a digit wrong on average with either loss, and a front on which larger networks count better.
"""

import nastk
from nastk.data.digit_scenes import digit_scenes
from nastk.oracles import Params, Recipe, Training
from nastk.problems import Density

space = nastk.space("counting")
recipe = Recipe(4, 20, "adamw", 1e-2, decay=1e-3)

# of your own: nastk.data.images.data_of((images, maps), (images, maps), (images, maps), problem=Density((2, 4)))
for pyramid in ((), (2, 4)):
    data = digit_scenes(problem=Density(pyramid))
    parts = [part.tensors() for part in (data.training, data.validation, data.test)]
    counted = Training(space, *parts, recipe=recipe, problem=data.problem).train(space.usual)
    loss = f"pyramid {pyramid}" if pyramid else "squared error"
    print(f"{loss:16} {counted.test:.2f} digits wrong on average in {counted.seconds:.0f} s")

error, params = Training(space, data, recipe=recipe), Params(space)
result = nastk.search(space, objectives=[error, params], searcher="predictor", budget=6, seed=0)
print(result.front[["arch", error.name, "params"]].to_string(index=False))
