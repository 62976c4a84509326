"""Launches are told from other events of a profile."""

from types import SimpleNamespace

from mmdet_lite.benchmarks.profiling import launches


def test_kernels_and_graphs_are_launches_and_waits_are_not():
    events = {
        "cudaLaunchKernel": 30,
        "cudaLaunchKernelExC": 4,
        "cuLaunchKernelEx": 2,
        "cudaGraphLaunch": 1,
        "cudaStreamSynchronize": 9,
        "aten::add": 30,
    }
    assert launches(SimpleNamespace(key=k, count=n) for k, n in events.items()) == 37
