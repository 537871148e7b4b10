"""A training that nastk ends early, and continues from its checkpoint: as a Python function and as a command.

Networks for handwritten digits are trained for 1, 3 or 9 epochs: many for one, the best of them on to three and nine.

Run: python examples/train_command.py    (about half a minute on two cores)
The same from the command line: see train_command/train.py.
Expect: two fronts of accuracy against parameters that are equal, as both ways train the same networks alike.
"""

import sys
from pathlib import Path

import nastk
from nastk.oracles.own_function import accuracy_function

SCRIPT = Path(__file__).resolve().parent / "train_command" / "train.py"

if __name__ == "__main__":
    space = nastk.space(f"{SCRIPT}:Net")
    function = accuracy_function(space, f"{SCRIPT}:accuracy", epochs=(1, 3, 9), seed=0)
    command = [sys.executable, str(SCRIPT), "--arch", "{arch}", "--folder", "{folder}"]
    program = nastk.oracles.TrainingCommand(space, command, fidelities=(1, 3, 9))
    for oracle, file in (function, "by-function.db"), (program, "by-command.db"):
        goals = [oracle, nastk.oracles.Params(space)]
        result = nastk.search(space, goals, searcher="mo-asha", trainings=1.8, storage=f"sqlite:///{file}")
        print(oracle.source, result.front.to_string(index=False), *result.notes, sep="\n")
