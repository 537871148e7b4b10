"""The device sets on which latency predictors are compared, and the figures of their papers.

Sets: HELP's default (ND, FD), Multi-Predict's adversarial (NA, FA), NASFLAT's (N1 to N4, F1 to F4), and once-for-all's
and HW-GPT-Bench's GPUs (OFA, GPT), for which no paper has figures of these methods. Figures are
Spearman correlations as printed; where HELP's and Multi-Predict's papers disagree about HELP on FBNet (two columns of
Multi-Predict's Table 3 are swapped), HELP's own are used.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DeviceSet:
    """Source and target devices of one task.

    Args:
        space: of the table with the latencies.
        sources, targets: devices.
        source_samples: architectures measured on each source device, as in the papers.
    """

    space: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    source_samples: int


SOURCE_SAMPLES = {"nasbench201": 900}
"""Architectures per source device in the papers, if not 4,000."""


def _set(space: str, sources: str, targets: str) -> DeviceSet:
    return DeviceSet(space, tuple(sources.split()), tuple(targets.split()), SOURCE_SAMPLES.get(space, 4000))


TASKS = {
    "ND": _set(
        "nasbench201",
        "1080ti_1 1080ti_32 1080ti_256 silver_4114 silver_4210r samsung_a50 pixel3 essential_ph_1 samsung_s7",
        "titan_rtx_256 gold_6226 fpga pixel2 raspi4 eyeriss",
    ),
    "NA": _set(
        "nasbench201",
        "titan_rtx_1 titan_rtx_32 titanxp_1 2080ti_1 titanx_1 1080ti_1 titanx_32 titanxp_32 2080ti_32 1080ti_32 "
        "gold_6226 samsung_s7 silver_4114 gold_6240 silver_4210r samsung_a50 pixel2",
        "eyeriss desktop_gpu_gtx_1080ti_fp32 embedded_tpu_edge_tpu_int8",
    ),
    "N1": _set(
        "nasbench201",
        "embedded_tpu_edge_tpu_int8 eyeriss mobile_gpu_snapdragon_675_adreno_612_int8 "
        "mobile_gpu_snapdragon_855_adreno_640_int8 pixel3",
        "1080ti_1 titan_rtx_32 titanxp_1 2080ti_32 titan_rtx_1",
    ),
    "N2": _set(
        "nasbench201",
        "1080ti_1 1080ti_32 titanx_32 titanxp_1 titanxp_32",
        "embedded_gpu_jetson_nano_fp16 embedded_tpu_edge_tpu_int8 mobile_dsp_snapdragon_675_hexagon_685_int8 "
        "mobile_dsp_snapdragon_855_hexagon_690_int8 pixel3",
    ),
    "N3": _set(
        "nasbench201",
        "desktop_gpu_gtx_1080ti_fp32 embedded_gpu_jetson_nano_fp16 eyeriss mobile_dsp_snapdragon_675_hexagon_685_int8 "
        "mobile_gpu_snapdragon_855_adreno_640_int8",
        "1080ti_1 2080ti_1 titanxp_1 2080ti_32 titanxp_32",
    ),
    "N4": _set(
        "nasbench201",
        "desktop_cpu_core_i7_7820x_fp32 embedded_gpu_jetson_nano_fp32 embedded_tpu_edge_tpu_int8 eyeriss "
        "mobile_cpu_snapdragon_855_kryo_485_int8 mobile_dsp_snapdragon_675_hexagon_685_int8 "
        "mobile_dsp_snapdragon_855_hexagon_690_int8 mobile_gpu_snapdragon_675_adreno_612_int8 "
        "mobile_gpu_snapdragon_855_adreno_640_int8 pixel2",
        "1080ti_1 2080ti_1 titan_rtx_1",
    ),
    "FD": _set(
        "fbnet",
        "1080ti_1 1080ti_32 1080ti_64 silver_4114 silver_4210r samsung_a50 pixel3 essential_ph_1 samsung_s7",
        "fpga raspi4 eyeriss",
    ),
    "FA": _set(
        "fbnet",
        "1080ti_1 1080ti_32 1080ti_64 2080ti_1 2080ti_32 2080ti_64 titan_rtx_1 titan_rtx_32 titan_rtx_64 titanx_1 "
        "titanx_32 titanx_64 titanxp_1 titanxp_32 titanxp_64",
        "gold_6226 essential_ph_1 samsung_s7 pixel2",
    ),
    "F1": _set(
        "fbnet",
        "2080ti_1 essential_ph_1 silver_4114 titan_rtx_1 titan_rtx_32",
        "eyeriss fpga raspi4 samsung_a50 samsung_s7",
    ),
    "F2": _set(
        "fbnet",
        "essential_ph_1 gold_6226 gold_6240 pixel3 raspi4",
        "1080ti_1 1080ti_32 2080ti_32 titan_rtx_1 titanxp_1",
    ),
    "F3": _set(
        "fbnet",
        "essential_ph_1 pixel2 pixel3 raspi4 samsung_s7",
        "1080ti_1 1080ti_32 2080ti_1 titan_rtx_1 titan_rtx_32",
    ),
    "F4": _set(
        "fbnet",
        "1080ti_64 2080ti_1 eyeriss gold_6226 gold_6240 raspi4 samsung_s7 silver_4210r titan_rtx_1 titan_rtx_32",
        "1080ti_1 pixel2 essential_ph_1",
    ),
    "OFA": _set(
        "mobilenetv3",
        "2080ti_1 2080ti_32 2080ti_64 titan_xp_1 titan_xp_32 titan_xp_64 v100_1 v100_32 v100_64",
        "titan_rtx_1 titan_rtx_32 titan_rtx_64",
    ),
    "GPT": _set("gpt", "P100 a6000 rtx2080 rtx3080", "a100 a40 h100 v100"),
}
"""Tasks by NASFLAT's names; OFA (HELP's own split) and GPT are named here."""


@dataclass(frozen=True)
class Figure:
    """One published Spearman correlation.

    Args:
        table: where it is printed.
        task, method: `method` is a key of `nastk.bench.latency.METHODS`.
        samples: measurements of the target device; None if the method needs none.
        device: "*" for the task's mean.
        value: as printed.
        source_samples: architectures per source device, if it differs from the task's.
    """

    table: str
    task: str
    method: str
    samples: int | None
    device: str
    value: float
    source_samples: int | None = None


def _published() -> list[Figure]:
    found: list[Figure] = []

    def row(table: str, task: str, method: str, samples: int | None, devices: str, values: str) -> None:
        pairs = zip(devices.split(), values.split(), strict=True)
        found.extend(Figure(table, task, method, samples, device, float(value)) for device, value in pairs)

    first = "titan_rtx_256 gold_6226 pixel2 raspi4 eyeriss fpga *"
    table = "Multi-Predict, Table 1"
    row(table, "ND", "flops", None, first, ".95 .83 .77 .85 .44 .90 .79")
    row(table, "ND", "brp-nas", 900, first, ".81 .80 .67 .85 .81 .80 .79")
    row(table, "ND", "brp-nas", 3200, first, ".82 .81 .69 .85 .83 .83 .81")
    row(table, "ND", "help", 20, first, ".98 .99 .80 .89 .94 .99 .93")
    row(table, "ND", "multi-predict-sample", 20, first, ".87 .92 .94 .87 .82 .69 .85")
    row(table, "ND", "multi-predict-index", 10, first, ".94 .93 .87 .77 .73 .90 .86")
    row(table, "ND", "multi-predict", 10, first, ".99 .95 .88 .90 .90 .99 .94")
    row(table, "ND", "multi-predict-vec+zcp", 10, first, ".97 .96 .86 .91 .95 .97 .94")
    row(table, "ND", "multi-predict-vec+hwl", 10, first, ".95 .97 .81 .88 .93 .95 .91")
    table = "Multi-Predict, Table 2"
    for task, values in (("NA", ".36 .65 .78 .73"), ("FA", ".37 .39 .45 .41")):
        for method, value in zip(
            ("help", "multi-predict", "multi-predict-vec+zcp", "multi-predict-vec+hwl"), values.split(), strict=True
        ):
            row(table, task, method, 20, "*", value)
    third = "fpga raspi4 eyeriss *"
    table = "Multi-Predict, Table 3"
    row(table, "FD", "help", 20, third, ".89 .89 .94 .91")
    row(table, "FD", "multi-predict-sample", 20, third, ".74 .79 .81 .78")
    row(table, "FD", "multi-predict-index", 10, third, ".92 .86 .87 .88")
    row(table, "FD", "multi-predict", 10, third, ".96 .95 .98 .96")
    table = "Multi-Predict, Table 4"
    for task, size, help_, transfer in (("FD", 4000, 0.91, 0.96), ("FD", 1000, 0.85, 0.91), ("ND", 900, 0.93, 0.94)):
        found.append(Figure(table, task, "help", 20, "*", help_, size))
        found.append(Figure(table, task, "multi-predict", 10, "*", transfer, size))
    found.append(Figure(table, "ND", "help", 20, "*", 0.91, 50))
    found.append(Figure(table, "ND", "multi-predict", 10, "*", 0.91, 50))
    table = "NASFLAT, task table"
    tasks = ["ND", "NA", "N1", "N2", "N3", "N4", "FD", "FA", "F1", "F2", "F3", "F4"]
    for method, values in (
        ("help", ".948 .410 .604 .509 .729 .746 .91 .37 .793 .543 .413 .799"),
        ("multi-predict", ".930 .820 .907 .757 .947 .952 .960 .45 .756 .567 .434 .763"),
        ("nasflat", ".959 .893 .967 .857 .962 .959 .961 .577 .809 .871 .814 .734"),
    ):
        for task, value in zip(tasks, values.split(), strict=True):
            row(table, task, method, 20, "*", value)
    return found


PUBLISHED = _published()
"""All published figures for the comparison."""
