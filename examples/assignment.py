"""The course assignment: train a ResNet-18, show ten misclassified images and their Grad-CAM, and what they rest on.

python examples/assignment.py            # the built-in data set, a small network, under a minute
python examples/assignment.py seed       # CIFAR-10 with the assignment's own settings: SGD, momentum 0.9, rate 0.001
"""

import sys

import seefar

# Random crop 32x32 and Cutout 16x16 by albumentations are in the recipe `seed`: crop_padding, cutout.
recipe = seefar.recipe(sys.argv[1]) if len(sys.argv) > 1 else seefar.recipe("demo", width=4, epochs=1)
data = seefar.load_data(recipe.data)

run = seefar.train(recipe, data)  # log lines, history.csv
test_accuracy = seefar.evaluate(run.model, data.test).metrics.accuracy
seefar.plot_history(run.history, test_accuracy).savefig("loss.png")
print(f"Test accuracy {test_accuracy:.2%}")

predictions = seefar.predict(run.model, data.test)
mistakes = seefar.find_mistakes(predictions)[:10]  # highest loss first
seefar.plot_mistakes(mistakes, data.test).savefig("mistakes.png")  # a 5x2 grid

explanation = seefar.explain(run.model, data.test, predictions, mistakes)  # Grad-CAM with 8x8 cells
seefar.plot_maps(explanation, data.test).savefig("maps.png")
for mistake, repair in zip(explanation.mistakes, explanation.repairs, strict=True):
    print(f"image {mistake.index}: {repair.sentence(mistake.predicted, data.classes)}")  # which region is responsible
