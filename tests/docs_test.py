"""The manual page names every command and option that --help names; the README's commands work."""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESPALDO = os.environ["RESPALDO"]


def help_of(*words):
    return subprocess.run([RESPALDO, *words, "--help"], stdout=subprocess.PIPE, text=True, check=True).stdout


def manual_page():
    page = (ROOT / "docs/man/respaldo.1").read_text().replace("\\-", "-")
    problems = []
    main = help_of()
    commands = re.findall(r"^  ([a-z]+) {3,}[A-Z]", main, re.M)
    assert len(commands) > 10, main
    for command in commands:
        if not re.search(rf"^\.B {command}\b", page, re.M):
            problems.append(f"the command {command}")
        for option in re.findall(r"--[a-z-]+[a-z]", help_of(command) if command != "lvm" else ""):
            if option not in page and option not in ("--help", "--disk"):
                problems.append(f"{command} {option}")
    problems += [option for option in re.findall(r"--[a-z-]+[a-z]", main.split("Examples:")[0]) if option not in page]
    return problems


def readme():
    """The blocks of the README, in an order that has an image before it is used."""
    text = (ROOT / "README.md").read_text()
    use, make = re.findall(r"```sh\n(.*?)```", text, re.S)
    work = tempfile.mkdtemp(prefix="readme ")
    script = "set -eu\n" + "\n".join(use.splitlines()[:2]).replace("$PWD/build/release", "$BUILT") + "\n"
    script += make + "sleep 1\n" + "\n".join(use.splitlines()[2:]).replace("--in-place", "--in-place --yes") + "\n"
    try:
        result = subprocess.run(["bash", "-c", script], cwd=work,
                                env=dict(os.environ, BUILT=os.path.dirname(RESPALDO), RESPALDO_STATE=f"{work}/state"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                text=True, stdin=subprocess.DEVNULL, timeout=300)
    finally:
        for name in ("volumes", "mnt"):
            subprocess.run(["fusermount3", "-uq", f"{work}/{name}"], stderr=subprocess.DEVNULL)
        shutil.rmtree(work, ignore_errors=True)
    return [] if result.returncode == 0 else [result.stdout]


problems = {"manual_page": manual_page, "readme": readme}[sys.argv[1]]()
if problems:
    sys.exit("missing or wrong:\n" + "\n".join(problems))
