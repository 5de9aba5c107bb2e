"""A night: the timer's command does a job of the configuration; what goes wrong is told, and ends as documented."""
import re

from common import *

CONFIG = """
[repositories.disk]
location = "{work}/repository"
password-file = "{work}/password"

[defaults]
repository = "disk"
volumes = ["vg0/*"]
exclude = "vg0/scratch*"
disks = ["{work}/a.img"]
tags = ["night"]
prune-every = "always"
check-every = "always"
notify = {{ email = "root, ana@example.org", command = ["{work}/tell", "us"] }}
{keep}

[jobs.night]
[jobs.night.hooks]
before-snapshot = "'{work}/hook' freeze"
after-snapshot = ["{work}/hook", "thaw"]
success = "'{work}/hook' success"
failure = "'{work}/hook' failure"
deadline = "5m"

[jobs.badhook]
[jobs.badhook.hooks]
before-snapshot = "'{work}/hook' fail"
after-snapshot = "'{work}/hook' thaw"
failure = "'{work}/hook' failure"

[jobs.nothing]
volumes = ["vg0/*", "vg7/*"]

[jobs.short]
[jobs.short.hooks]
before-snapshot = "'{work}/hook' slow"
after-snapshot = "'{work}/hook' thaw"
[jobs.short.limits]
deadline = "15s"
nice = 5
io-priority = "idle"

[jobs.unwritable]
metrics = "{work}/missing/night.prom"

[repositories.gone]
location = "{work}/gone"
password-file = "{work}/password"
[jobs.gone]
repository = "gone"

[repositories.small]
location = "{work}/small/repository"
password-command = ["cat", "{work}/password"]
[jobs.small]
repository = "small"
"""


def script(path, text):
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)


def files_of_jobs(config, work):
    """Metrics and a report for each job."""
    def files(job):
        metrics = "" if job[2].startswith("metrics") else f'metrics = "{work}/{job[1]}.prom"\n'
        return f'[jobs.{job[1]}]\n{metrics}report = "{work}/{job[1]}.json"\n{job[2]}'
    return re.sub(r"^\[jobs\.(\w+)\]\n(.*)", files, config, flags=re.MULTILINE)


class Night:
    def __init__(self, work):
        self.work = work
        (work / "state").mkdir()
        (work / "bin").mkdir()
        (work / "password").write_text("a night\n")
        (work / "password").chmod(0o600)
        script(work / "hook", f'echo "$1 $RESPALDO_HOOK $RESPALDO_JOB$RESPALDO_EXIT_CODE" >>"{work}/hooks"\n'
                              '[ "$1" != slow ] || sleep 50\n'
                              '[ "$1" != fail ] || { echo the database is on fire >&2; exit 9; }\n')
        script(work / "tell", f'{{ echo "$RESPALDO_SUBJECT $1"; cat; }} >"{work}/told"\n')
        script(work / "bin/sendmail", f'{{ echo "$@"; cat; }} >"{work}/mail"\n')
        ENV["PATH"] = f"{work}/bin:" + ENV["PATH"]
        ENV["RESPALDO_STATE"] = str(work / "state")
        ENV["RESPALDO_CONFIG"] = str(work / "respaldo.toml")
        for name in ("RESPALDO_PASSWORD", "RESTIC_PASSWORD"):
            ENV.pop(name, None)
        has_forget = "forget" in run([RESPALDO, "--help"]).stdout
        keep = "keep = { last = 2 }" if has_forget else ""
        (work / "respaldo.toml").write_text(files_of_jobs(CONFIG.format(work=work, keep=keep), work))
        self.has_forget = has_forget

    def run(self, job, expect, *words):
        self.job = job
        for name in ("hooks", "told", "mail", f"{job}.prom", f"{job}.json"):
            (self.work / name).unlink(missing_ok=True)
        result = run([RESPALDO, "run", job, *words], expect=expect)
        return result.stdout + result.stderr

    def text(self, name):
        path = self.work / name
        return path.read_text() if path.exists() else ""

    def metrics(self):
        return self.text(f"{self.job}.prom")

    def report(self):
        return json.loads(self.text(f"{self.job}.json"))

    def metric(self, name):
        lines = [line for line in self.metrics().splitlines() if line.startswith(name + "{")]
        need(len(lines) == 1, f"{name}: {self.metrics()}")
        return float(lines[0].rsplit(" ", 1)[1])

    def failed_and_told(self, job, code, why):
        said = self.run(job, code)
        need(why in said, f"{job}: {said}")
        mail = self.text("mail")
        need(mail.startswith("-i -- root ana@example.org\n") and f"Subject: respaldo: job {job} on " in mail and "FAILED" in mail, mail)
        need(why in mail and why in self.text("told") and self.text("told").startswith(f"respaldo: job {job} on "), self.text("told"))
        need(self.metric("respaldo_job_exit_code") == code, "exit code")
        report = self.report()
        need(report["exit_code"] == code and report["steps"][0]["outcome"] == "failed", f"{report}")
        return report

    def failed_after_the_backup(self, job, step):
        self.run(job, 1)
        need(f"FAILED: {step}" in self.text("told"), self.text("told"))
        report = self.report()
        need(report["exit_code"] == 1 and report["steps"][0]["outcome"] == "done", f"{report}")
        need("last_success" not in (self.work / f"state/jobs/{job}.json").read_text(), "a job that failed went well")


def main():
    with folder() as work:
        night = Night(work)
        repository = work / "repository"
        password = ["-p", work / "password"]
        images = Images(work, "a.img")
        images.lvm("vgcreate", "-qq", "vg0", images.paths[0])
        for name in ("root", "home", "scratch1"):
            images.lvm("lvcreate", "-qq", "-L", "8M", "-n", name, "vg0")
        with images.activated() as volumes:
            for name in ("root", "home"):
                write_at(volumes / "vg0" / name, 0, random_bytes(6 * MIB))
        run([RESPALDO, "-r", repository, *password, "init"])
        need("is right" in run([RESPALDO, "config", "check"]).stdout, "config check")
        shown = run([RESPALDO, "config", "show"]).stdout
        need("[jobs.night.hooks]" in shown, shown)

        plan = night.run("night", 0, "--dry-run")
        need(all(word in plan for word in (" backup ", " vg0/home ", " vg0/root ", " --tag=job:night --tag=night", " check")), plan)
        need("scratch1" not in plan, plan)
        need(not (work / "night.prom").exists() and not night.text("hooks"), "a dry run did something")

        # All goes well, twice.
        for _ in range(2):
            said = night.run("night", 0)
            need("all went well" in said, said)
            need(night.text("hooks") == "freeze before-snapshot \nthaw after-snapshot \nsuccess success night0\n", night.text("hooks"))
        need(not night.text("mail") and not night.text("told"), "nobody asked to be told of success")
        report = night.report()
        steps = {step["step"]: step["outcome"] for step in report["steps"]}
        wanted = ["backup", "forget", "prune", "check"] if night.has_forget else ["backup", "check"]
        need(steps == {step: "done" for step in wanted}, f"{steps}")
        need(night.metric("respaldo_job_exit_code") == 0 and night.metric("respaldo_job_read_bytes") >= 12 * MIB, night.metrics())
        success = night.metric("respaldo_job_last_success_timestamp_seconds")
        need(abs(success - time.time()) < 300 and night.metric("respaldo_job_last_check_timestamp_seconds") <= success, "times")
        listed = json.loads(run([RESPALDO, "--json", "-r", repository, *password, "list"]).stdout)
        need(len(listed) == 2 and set(listed[0]["paths"]) == {"/dev/vg0/home", "/dev/vg0/root"}, f"{listed}")
        need(set(listed[0]["tags"]) == {"job:night", "night"}, f"{listed[0]['tags']}")
        if night.has_forget:
            night.run("night", 0)
            listed = json.loads(run([RESPALDO, "--json", "-r", repository, *password, "list"]).stdout)
            need(len(listed) == 2, f"keep-last 2 left {len(listed)} backups")

        # The lock of a program that died here keeps no night from its work.
        locks = repository / "locks"
        # It died before the machine was booted, with a volume that nobody took off its hands.
        fake = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        dead = subprocess.Popen([RESPALDO, "-r", str(repository), "-p", str(work / "password"), "export", "latest:vg0/root", "--raw", "-"],
                                env=ENV | {"LD_PRELOAD": str(fake), "FAKETIME": "-400d", "FAKETIME_DONT_FAKE_MONOTONIC": "1"},
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

        def locked():  # it is written under another name first
            return any(re.fullmatch("[0-9a-f]{64}", path.name) for path in locks.iterdir())

        need(comes_true(locked), "no lock was made")
        dead.kill()
        dead.wait()
        need("all went well" in night.run("night", 0), "a stale lock stopped the night")
        need(not any(locks.iterdir()), "the stale lock is still there")

        # A hook fails: nothing is saved, what was frozen thaws, somebody is told.
        night.failed_and_told("badhook", 1, "the database is on fire")
        need(night.text("hooks") == "fail before-snapshot \nthaw after-snapshot \nfailure failure badhook1\n", night.text("hooks"))
        need("last_success" not in night.metrics(), "a job that never went well has no such time")
        # The target is missing; a volume is missing.
        night.failed_and_told("gone", 10, "there is no repository")
        night.failed_and_told("nothing", 1, "no volume fits vg7/*")
        # The job has had its time.
        start = time.monotonic()
        night.failed_and_told("short", 1, "limits.deadline")
        need(time.monotonic() - start < 45 and "slow" in night.text("hooks") and "thaw" in night.text("hooks"),
             f"hooks of a job past its limit: {night.text('hooks')}")
        # The target is full.
        if os.geteuid() == 0:
            (work / "small").mkdir()
            run(["mount", "-t", "tmpfs", "-o", "size=3M", "tmpfs", work / "small"])
            try:
                run([RESPALDO, "-r", work / "small/repository", *password, "init"])
                report = night.failed_and_told("small", 1, "No space left")
                need(json.loads(run([RESPALDO, "--json", "-r", work / "small/repository", *password, "list"]).stdout) == [], "listed")
            finally:
                run(["umount", work / "small"])
        else:
            print("NOT TESTED: a full target (needs root)")
        need(len(json.loads(run([RESPALDO, "--json", "-r", repository, *password, "list"]).stdout)) == 2, "failed jobs saved something")

        # A volume vanishes: it is told every night, and its last backups stay until somebody says that it is gone for good.
        if night.has_forget:
            def holds_home():
                return len(json.loads(run([RESPALDO, "--json", "-r", repository, *password, "list", "--volume", "vg0/home"]).stdout))

            images.lvm("lvremove", "-qq", "-y", "vg0/home")
            for _ in range(3):
                said = night.run("night", 3)
                line = re.search(r"former-volumes = \[.*\]", said)
                need(line and "vg0/home" in said and "INCOMPLETE" in night.text("told"), said)
                need(holds_home() == 2 and night.metric("respaldo_job_exit_code") == 3, night.metrics())
            config = night.text("respaldo.toml")
            (work / "respaldo.toml").write_text(config.replace("[jobs.night]\n", f"[jobs.night]\n{line.group()}\n", 1))
            need("all went well" in night.run("night", 0) and holds_home() == 0, "former-volumes confirms nothing")

        # Metrics that cannot be written: somebody is told, and nothing says that all went well.
        night.failed_after_the_backup("unwritable", "the metrics")

        # Two runs of one job do not collide.
        script(work / "hook", f'touch "{work}/begun"\n'
                              f'until [ -e "{work}/go on" ] || [ ! -e "{work}/hook" ]; do sleep 0.1; done\n')
        first = subprocess.Popen([RESPALDO, "-q", "run", "night"], env=ENV)
        need(comes_true((work / "begun").exists), "no hook ran")
        second = run([RESPALDO, "run", "night"], expect=11)
        need("is running already" in second.stderr, second.stderr)
        need(first.poll() is None, "the first run did not wait for its hook")
        (work / "go on").touch()
        need(first.wait(timeout=600) == 0, "the first run")

        # What is wrong in the configuration has its place.
        (work / "respaldo.toml").write_text("[jobs.a]\nvolume = 'vg0/root'\n")
        result = run([RESPALDO, "config", "check"], expect=2)
        need("respaldo.toml:2:10: the job `a` has no key `volume`" in result.stdout and "did you mean `volumes`" in result.stdout, result.stdout)
        result = run([RESPALDO, "run", "a"], expect=2)
        need("respaldo.toml:" in result.stderr, result.stderr)


main()
