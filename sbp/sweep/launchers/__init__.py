"""Launchers for sweeps on SLURM and on Ray: a job that is killed does not stop the others.

They are made known to Hydra at every start, so submitit and Ray are imported where they are used.
"""

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher

from sbp.sweep.launchers.ray_jobs import RayLauncher
from sbp.sweep.launchers.submitit_jobs import LocalLauncher, SlurmLauncher


def register_launchers() -> None:
    """Let `_target_` in conf/hydra/launcher name ours; safe to call more than once.

    Hydra takes plugins from the package hydra_plugins only, and looks them up in a dictionary that it fills
    from there. Under names of that kind, classes from elsewhere serve as well.
    """
    known = Plugins.instance().class_name_to_class
    ours: tuple[type[Launcher], ...] = (LocalLauncher, RayLauncher, SlurmLauncher)
    known.update({f"hydra_plugins.sbp.{launcher.__name__}": launcher for launcher in ours})
