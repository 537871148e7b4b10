"""A benchmark of searchers, and its table in LaTeX: mean with 95 % interval, the best bold, the second underlined.

Run: nastk data fetch nasbench201 && python examples/benchmark_to_latex.py    (under a minute)
From the command line: nastk bench search --dataset cifar10 --devices fpga --searchers random,pymoo:nsga2,predictor
--budgets 20,40 --seeds 3 --out bench, then nastk report bench/rows.json --metric hypervolume --latex table.tex
Expect: a tabular of the package booktabs with a row for each of three searchers and a column for each of two budgets,
with `predictor` in bold; it is in table.tex, too.
"""

import sys
from pathlib import Path

import nastk
from nastk.bench import search
from nastk.report.latex import write_latex

if __name__ == "__main__":  # several processes run the searches
    try:
        found = search.compare(
            dataset="cifar10",
            devices=["fpga"],
            objectives=["test_accuracy", "latency"],
            searchers=["random", "pymoo:nsga2", "predictor"],
            budget=40,
            seeds=3,
        )
    except nastk.NastkError as error:
        print(f"skipped: {error}")
        sys.exit()

    write_latex(found.rows([20, 40]), "table.tex", metric="hypervolume")
    print(Path("table.tex").read_text())
