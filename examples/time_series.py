"""Time series: a search among temporal convolutional networks, each trained, accuracy against parameters.

The series are scikit-learn's handwritten digits read from left to right: eight channels, eight steps. An .npz file of
your own with `series` (n, channels, time) and `labels` goes in their place.

Run: python examples/time_series.py [series.npz]    (under half a minute; no download)
From the command line: nastk search --space tcn --data series.npz --epochs 3 --objective accuracy --objective params
Expect: a front of two or more networks of a few hundred to some tens of thousands of parameters, the best above 80 %.
Pruning a network of your own by masks, in one training: prune_my_network.py
"""

import sys

import numpy as np
from sklearn.datasets import load_digits

import nastk
from nastk.data.images import read_images
from nastk.oracles import Params, Training

if len(sys.argv) > 1:
    file = sys.argv[1]
else:
    file = "series.npz"
    pictures, labels = load_digits(return_X_y=True)
    np.savez(file, series=pictures.reshape(-1, 8, 8).astype("float32"), labels=labels)

data = read_images(file)
space = nastk.space("tcn")
accuracy = Training(space, data, epochs=3)  # classes, channels and steps are those of the data
params = Params(space, **accuracy.build_options)
result = nastk.search(space, [accuracy, params], budget=6, seed=0)
for row in result.front.itertuples():
    print(f"{row.accuracy:5.1f} % with {row.params:7,.0f} parameters: {row.arch}")
