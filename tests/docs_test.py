"""The manual pages name what --help names, and nothing else; the completion completes; the README's commands work."""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESPALDO = os.environ["RESPALDO"]
MANUAL = pathlib.Path(RESPALDO).parent / "man"


def help_of(*words):
    return subprocess.run([RESPALDO, *words, "--help"], stdout=subprocess.PIPE, text=True, check=True).stdout


def rendered(page):
    """The page as groff shows it, and what groff complains about."""
    result = subprocess.run(["groff", "-man", "-ww", "-K", "utf8", "-T", "utf8", "-P-cbou", str(page)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, check=False)
    return result.stdout, result.stderr.strip()


def commands_of_help():
    commands = re.findall(r"^  ([a-z]+) {3,}[A-Z]", help_of(), re.M)
    assert len(commands) > 10, help_of()
    return commands


def options_in(text):
    """Options of the lines that explain them: "  -n,--dry-run ..."."""
    return {option for line in re.findall(r"^ +(-[^ ]*)", text, re.M) for option in re.findall(r"--[a-z-]+[a-z]", line)}


def manual_pages():
    """Each command has a text and a page; a page has every option of --help and none that is not there."""
    problems = []
    commands = commands_of_help()
    common = options_in(help_of().split("Examples:")[0])
    texts = {path.stem for path in (ROOT / "docs/man").glob("*.md")} - {"respaldo"}
    for gone in sorted(texts - set(commands)):
        problems.append(f"docs/man/{gone}.md describes a command that does not exist: remove it")
    for command in commands:
        text_file = ROOT / f"docs/man/{command}.md"
        if not text_file.exists() or len(text_file.read_text().strip()) < 20:
            problems.append(f"docs/man/{command}.md is missing: write in Markdown what `respaldo {command}` does and what its options "
                            "cannot say (the page gets synopsis, options and examples from the program)")
            continue
        explained = help_of(command)
        below = re.findall(r"^  ([a-z]+) {3,}\S", explained.split("Subcommands:")[1], re.M) if "Subcommands:" in explained else []
        options = options_in(explained) if command != "lvm" else set()
        for sub in below:
            options |= options_in(help_of(command, sub))
        page, complaints = rendered(MANUAL / f"respaldo-{command}.8")
        problems += [f"respaldo-{command}.8: groff: {line}" for line in complaints.splitlines()]
        problems += [f"respaldo-{command}.8 lacks {option}" for option in sorted(options - common - {"--help"}) if option not in page]
        problems += [f"respaldo-{command}.8 lacks the subcommand {sub}" for sub in below if f"{command} {sub}" not in page]
        if command != "lvm":
            known = options | common | {"--help"}
            # Options of other programs stand behind the program's name: `tar --acls`.
            said = set(re.findall(r"`(--[a-z-]+[a-z])", text_file.read_text())) | options_in(page)
            problems += [f"docs/man/{command}.md speaks of {option}, which `respaldo {command}` does not have"
                         for option in sorted(said - known)]
    page, complaints = rendered(MANUAL / "respaldo.toml.5")
    problems += [f"respaldo.toml.5: groff: {line}" for line in complaints.splitlines()]
    problems += [f"respaldo.toml.5 lacks {key}" for key in ("password-file", "thaw-after", "respaldo_job_exit_code") if key not in page]
    page, complaints = rendered(MANUAL / "respaldo.8")
    problems += [f"respaldo.8: groff: {line}" for line in complaints.splitlines()]
    problems += [f"respaldo.8 lacks {word}" for word in sorted(common) + commands if not re.search(rf"(^|\s){word}\b", page)]
    # Bold that CommonMark does not close stands there as it was written.
    problems += [f"{page.name} shows `**`: {line.strip()}" for page in sorted(MANUAL.glob("*.[58]"))
                 for line in rendered(page)[0].splitlines() if "**" in line]
    return problems


def completion():
    """In bash itself: what is offered for lines that end in the middle."""
    wanted = {
        "respaldo ba": ["backup"],
        "respaldo backup --on-read-error ": ["fail", "skip"],
        "respaldo backup --on-read-error=s": ["skip"],
        "respaldo --disk a.img backup --all": ["--all-blocks"],
        "respaldo backup --quie": ["--quiet"],
        "respaldo -r /tmp check --read-data --threa": ["--threads"],
        "respaldo lvm lvcre": ["lvcreate"],
        "respaldo restore la": ["latest"],
        "respaldo key pass": ["passwd"],
        "respaldo nonsense": [],
    }
    problems = []
    for line, words in wanted.items():
        script = ('set -u; source "$1"; COMP_LINE=$2; COMP_POINT=${#2}; COMP_WORDBREAKS=$\' \\t\\n=:\'; compopt() { :; }; '
                  '_respaldo; printf "%s\\n" "${COMPREPLY[@]}"')
        result = subprocess.run(["bash", "-c", script, "bash", str(MANUAL.parent / "completion/respaldo"), line],
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        got = result.stdout.split()
        if result.returncode != 0 or not set(words) <= set(got) or (not words and got):
            problems.append(f"{line!r}: wanted {words}, bash offers {got}")
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


problems = {"manual_pages": manual_pages, "completion": completion, "readme": readme}[sys.argv[1]]()
if problems:
    sys.exit("missing or wrong:\n" + "\n".join(problems))
