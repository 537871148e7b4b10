"""Two examples of each command, which its ``--help`` ends with."""

from __future__ import annotations

import typer

EXAMPLES: dict[str, tuple[str, str]] = {
    "search": (
        'nastk search --constraint "latency<=10" --threads 2',
        "nastk search --space my_network.py:Net --data my_images/ --epochs 10 --budget 40",
    ),
    "train": (
        'nastk train nastk-out --pick "accuracy, latency<=8" --data my_images/ --epochs 100 --seeds 3',
        "nastk train nastk-out --arch 2_1_4 --data digits --epochs 20 --export onnx",
    ),
    "export": (
        'nastk export nastk-out --pick "accuracy, latency<=8" --format onnx,python',
        "nastk export nastk-out --pick accuracy --runtime openvino --precision int8",
    ),
    "measure": (
        "nastk measure --random 10 --csv mine.csv",
        "nastk measure --random 20 --runtime onnx --precision int8 --repeatability 3",
    ),
    "predict": (
        "nastk predict --measured mine.csv --all --csv all.csv",
        "nastk predict --measured mine.csv --archs 100,200,300",
    ),
    "zcp": (
        "nastk zcp --random 5 --proxies synflow,nwot",
        "nastk zcp --space my_network.py:Net --random 20 --data digits --csv proxies.csv",
    ),
    "mcu": ("nastk mcu model.tflite", "nastk mcu model.tflite --json model.json"),
    "list": ("nastk list searchers", "nastk list"),
    "report": (
        "nastk report nastk-out --png front.pdf",
        "nastk report rows.json --metric hypervolume --latex table.tex --pdf curves.pdf",
    ),
    "front": (
        'nastk front nastk-out --constraint "latency<=5"',
        "nastk front --storage sqlite:///run.db --study mine",
    ),
    "choices": ("nastk choices nastk-out", "nastk choices nastk-out --samples 500 --out effects"),
    "device list": ("nastk device list", "nastk device list --json here.json"),
    "device test": ("nastk device test --random 3", "nastk device test --random 3 --runtime onnx,openvino"),
    "bench search": (
        "nastk bench search --dataset cifar10 --devices fpga,pixel2 --searchers random,predictor --seeds 10",
        "nastk bench search --space nasbench201,transbench101-micro --searchers random,predictor@gp,npenas@brp-nas "
        "--out compared",
    ),
    "bench predict": (
        "nastk bench predict --space nasbench201@cifar100 --predictors gp-bma,my_file.py:Mine --sizes 10,50",
        "nastk bench predict --space fbnet --objective latency --predictors few-shot-gp,gp --out predicted",
    ),
    "bench workers": ("nastk bench workers --workers 4", "nastk bench workers --searcher random --seconds 1"),
    "bench storage": (
        "nastk bench storage --records 10000",
        "nastk bench storage --storage postgresql://user@host/database",
    ),
    "bench local-sources": (
        "nastk bench local-sources --keep here.json",
        "nastk bench local-sources --from here.json --adapt 5",
    ),
    "bench delivered": (
        "nastk bench delivered --space fbnet --objective max:params --out delivered",
        "nastk bench delivered --space my_network.py:Net --objective max:params --seeds 3",
    ),
    "bench overhead": (
        "nastk bench overhead --dataset ImageNet16-120",
        "nastk bench overhead --space my_space.py:Space --functions 2",
    ),
    "bench zcp": ("nastk bench zcp --networks 5", "nastk bench zcp --accuracies 100 --batch random --batch-size 16"),
    "bench supernet": (
        "nastk bench supernet --data digits --networks 60 --out supernets",
        "nastk bench supernet --methods params,block-wise,sandwich --seeds 3 --out supernets",
    ),
    "bench supernet-search": (
        "nastk bench supernet-search --budgets 20,60 --seeds 5",
        "nastk bench supernet-search --supernet block-wise --searchers predictor",
    ),
    "reproduce latency": (
        "nastk reproduce latency --tasks ND,FD --methods few-shot-gp,help --seeds 3",
        "nastk reproduce latency --unseen --samples 10",
    ),
    "reproduce accuracy": (
        "nastk reproduce accuracy --methods my_file.py:Mine,gp-bma --samples 10,50 --figures curves",
        "nastk reproduce accuracy --calibration --methods my_file.py:Mine,gp-bma --targets nasbench301",
    ),
    "reproduce correlations": (
        "nastk reproduce correlations",
        "nastk reproduce correlations --space fbnet --figures maps",
    ),
    "reproduce hat-latency": (
        "nastk reproduce hat-latency --seeds 3",
        "nastk reproduce hat-latency --samples 5,10 --seeds 1",
    ),
    "reproduce modnas": (
        "nastk reproduce modnas --seeds 3 --figures modnas",
        "nastk reproduce modnas --space fbnet --seeds 1",
    ),
    "reproduce supernet": (
        "nastk reproduce supernet --seeds 1",
        "nastk reproduce supernet --images my.npz --seeds 3",
    ),
    "reproduce lists": ("nastk reproduce lists", "nastk reproduce lists devices"),
    "reproduce all": (
        "nastk reproduce all --quick --out repeated",
        "nastk reproduce all --items multi-predict-table-3,modnas --out repeated",
    ),
    "reproduce tcn": (
        "nastk reproduce tcn --seeds 2 --out tcn",
        "nastk reproduce tcn --data my_series.npz --methods tenth --seeds 5 --out tcn",
    ),
    "reproduce mtl": (
        "nastk reproduce mtl --seeds 2 --out mtl --figures mtl",
        "nastk reproduce mtl --second thickness --subsets 20 --seeds 1",
    ),
    "reproduce counting": (
        "nastk reproduce counting --seeds 2 --out counting --figures counting",
        "nastk reproduce counting --off 0 --searched 0",
    ),
    "data list": ("nastk data list", "nastk data list --json tables.json"),
    "data fetch": ("nastk data fetch nasbench201", "nastk data fetch nasbench201 fbnet"),
    "data import": ("nastk data import mine.csv", "nastk data import csv mine.csv --space nasbench201"),
    "data forms": ("nastk data forms", "nastk data forms --json forms.json"),
    "data forget": ("nastk data forget mine", "nastk data forget mine other"),
    "data status": ("nastk data status", "nastk data status --json status.json"),
    "data verify": ("nastk data verify", "nastk data verify nasbench201"),
    "study list": ("nastk study list --storage run.db", "nastk study list --storage postgresql://user@host/database"),
    "study show": ("nastk study show --storage run.db", "nastk study show --storage run.db --study mine"),
    "study retry": ("nastk study retry --storage run.db", "nastk study retry --storage run.db --study mine"),
    "study delete": (
        "nastk study delete --storage run.db --study mine",
        "nastk study delete --storage postgresql://user@host/database --study mine",
    ),
    "study serve": ("nastk study serve --storage run.db", "nastk study serve --storage nastk-out/history.db"),
    "study export": (
        "nastk study export --storage run.db --optuna sqlite:///optuna.db",
        "nastk study export --storage run.db --study mine --optuna sqlite:///optuna.db",
    ),
    "help": ("nastk help", "nastk help bench search"),
}
"""By the command's whole name."""


def add_examples(app: typer.Typer, within: str = "") -> None:
    """End the help of every command of an app with its examples."""
    for command in app.registered_commands:
        assert command.callback is not None
        name = command.name or command.callback.__name__
        command.epilog = "\n\n".join(["Examples:", *EXAMPLES[f"{within}{name}"]])
    for group in app.registered_groups:
        if group.typer_instance is not None:
            add_examples(group.typer_instance, f"{within}{group.name} ")
