"""nastk's predictor-guided search in an Optuna study, by one argument: a small network for handwritten digits.

Run: python examples/optuna_sampler.py [trials]    (20 trials by default, under half a minute)
Expect: the trials that no other one dominates, ascending by parameters, the best above 90 %.
"""

import sys

import optuna
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from nastk.search import NastkSampler

torch.set_num_threads(1)  # the networks are tiny
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "silu": nn.SiLU}
images, labels = load_digits(return_X_y=True)
data = train_test_split(torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels), random_state=0)
train_x, test_x, train_y, test_y = data


def objective(trial):
    torch.manual_seed(0)
    layers, width = [], 64
    for i in range(3):
        out = trial.suggest_categorical(f"width{i}", [8, 16, 32, 64])
        layers += [nn.Linear(width, out), ACTIVATIONS[trial.suggest_categorical(f"activation{i}", list(ACTIVATIONS))]()]
        if trial.suggest_categorical(f"norm{i}", [False, True]):
            layers.append(nn.BatchNorm1d(out))
        width = out
    model = nn.Sequential(*layers, nn.Linear(width, 10))
    optimiser = torch.optim.Adam(model.parameters(), lr=trial.suggest_float("lr", 1e-4, 1e-1, log=True))
    for _ in range(40):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(train_x), train_y).backward()
        optimiser.step()
    model.eval()
    with torch.no_grad():
        accuracy = (model(test_x).argmax(dim=1) == test_y).float().mean().item()
    return 100 * accuracy, sum(p.numel() for p in model.parameters())


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=NastkSampler(seed=0))
    study.optimize(objective, n_trials=int(sys.argv[1]) if len(sys.argv) > 1 else 20)
    print("accuracy %  parameters")
    for trial in sorted(study.best_trials, key=lambda t: t.values[1]):
        widths = "-".join(str(trial.params[f"width{i}"]) for i in range(3))
        print(
            f"{trial.values[0]:10.1f}  {trial.values[1]:10.0f}  widths {widths}, learning rate {trial.params['lr']:.2g}"
        )
