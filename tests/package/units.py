"""systemd itself has no complaint about the units, with the built program in the installed one's place."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
if shutil.which("systemd-analyze") is None:
    sys.exit("NOT TESTED: systemd-analyze is missing; tools/install_dependencies installs it")
with tempfile.TemporaryDirectory() as work:
    program = pathlib.Path(work) / "respaldo"  # its own path may have blanks
    program.symlink_to(os.environ["RESPALDO"])
    for unit in (ROOT / "packaging/systemd").iterdir():
        text = unit.read_text()
        assert unit.suffix != ".service" or "ExecStart=/usr/bin/respaldo run %i\n" in text, text
        assert "\nCondition" not in text, f"a condition that is not met counts as success, every night:\n{text}"
        (pathlib.Path(work) / unit.name.replace("@", "@nightly")).write_text(
            text.replace("/usr/bin/respaldo", str(program)))
    units = sorted(str(path) for path in pathlib.Path(work).iterdir() if path != program)
    result = subprocess.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *units], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, check=False, env=dict(os.environ, SYSTEMD_UNIT_PATH=f"{work}:"))
    if result.returncode != 0 or result.stdout.strip():
        sys.exit(f"systemd-analyze verify: exit code {result.returncode}\n{result.stdout}")
