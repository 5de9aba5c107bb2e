"""The Debian package, built and installed with apt on a bare Debian 12 made for the purpose: program, manual pages,
completion, configuration, removal. Needs root and the machine's own package sources."""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

RESPALDO = pathlib.Path(os.environ["RESPALDO"])


def run(argv, expect=0, **kwargs):
    result = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                            stdin=subprocess.DEVNULL, **kwargs)
    if expect is not None and result.returncode != expect:
        sys.exit(f"FAILED: {' '.join(map(str, argv))}: exit code {result.returncode}\n{result.stdout[-4000:]}")
    return result.stdout


def need(condition, text):
    if not condition:
        sys.exit(f"FAILED: {text}")


def build_package(work):
    run(["cpack", "--config", RESPALDO.parent / "CPackConfig.cmake", "-B", work / "cpack"], cwd=work)
    packages = list((work / "cpack").glob("respaldo_*.deb"))
    need(len(packages) == 1, f"packages: {packages}")
    return packages[0]


def look_at(package):
    control = run(["dpkg-deb", "-f", package])
    for word in ("Package: respaldo", "lvm2", "dmsetup", "e2fsprogs", "util-linux", "libssl3", "libzstd1", "fuse3"):
        need(word in control, f"{word} is not in\n{control}")
    files = run(["dpkg-deb", "-c", package])
    for name in ("/usr/bin/respaldo", "/usr/share/man/man8/respaldo.8.gz", "/usr/share/man/man8/respaldo-backup.8.gz",
                 "/usr/share/man/man5/respaldo.toml.5.gz", "/usr/share/bash-completion/completions/respaldo",
                 "/usr/lib/systemd/system/respaldo@.service", "/usr/lib/systemd/system/respaldo@.timer", "/etc/respaldo/respaldo.toml",
                 "/usr/share/doc/respaldo/copyright", "/usr/share/doc/respaldo/configuration.md"):
        need(f" .{name}\n" in files, f"{name} is not in\n{files}")
    need(all(line.split()[1] == "root/root" for line in files.splitlines()), f"owners:\n{files}")


def debian_mirror():
    """Of the machine's own sources: where bookworm itself comes from."""
    told = run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages"])
    for line in told.splitlines():
        uri, _, codename = line.partition(" ")
        if codename == "bookworm" and "debian" in uri:
            return uri
    sys.exit("NOT TESTED: this machine has no package source for Debian 12 (run apt-get update)")


def make_root(root):
    run(["debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", root, debian_mirror()])
    shutil.rmtree(root / "etc/apt")
    shutil.copytree("/etc/apt", root / "etc/apt", symlinks=True, ignore_dangling_symlinks=True)
    for extra in ("/etc/resolv.conf", "/etc/ssl/certs/ca-certificates.crt"):
        if os.path.exists(extra):
            shutil.copyfile(extra, root / extra.lstrip("/"))
    # The sources' keys, wherever they are kept.
    if os.path.isdir("/usr/share/keyrings"):
        shutil.copytree("/usr/share/keyrings", root / "usr/share/keyrings", dirs_exist_ok=True)
    # Whatever keeps documentation out of slim images would keep the manual pages out, too.
    for config in (root / "etc/dpkg/dpkg.cfg.d").glob("*"):
        config.unlink()


def try_it(root):
    def inside(*argv, **kwargs):
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive", "TERM": "dumb"}
        return run(["chroot", root, *argv], env=env, **kwargs)

    inside("apt-get", "-qq", "update")
    inside("apt-get", "install", "-y", "--no-install-recommends", "./respaldo.deb")
    version = inside("respaldo", "--version")
    need(os.path.getsize(root / "usr/bin/respaldo") * 2 < RESPALDO.stat().st_size, "the program is not stripped")
    need(re.fullmatch(r"respaldo \d+\.\d+\.\d+\n", version), version)
    # It works: a volume on a disk image is backed up and comes back.
    inside("sh", "-euc", """
export RESPALDO_REPOSITORY=/tmp/repository RESPALDO_PASSWORD=secret
truncate -s 64M /tmp/a.img
respaldo --disk /tmp/a.img lvm vgcreate vg0 /tmp/a.img
respaldo --disk /tmp/a.img lvm lvcreate -L 16M -n root vg0
respaldo init
respaldo --disk /tmp/a.img backup vg0/root
respaldo restore latest:vg0/root --to-file /tmp/root.img
respaldo --disk /tmp/a.img dump vg0/root | cmp - /tmp/root.img
respaldo config check
""")
    help_text = inside("respaldo", "--help")
    if re.search(r"^  doctor ", help_text, re.M):
        told = inside("respaldo", "doctor", expect=None)
        need("lvm" in told.lower(), f"doctor: {told}")
    else:
        inside("respaldo", "--disk", "/tmp/a.img", "layout")
    # The manual opens, the completion completes.
    inside("apt-get", "install", "-y", "-qq", "--no-install-recommends", "man-db", "bash-completion")
    for page in ("8 respaldo", "8 respaldo-backup", "5 respaldo.toml"):
        text = inside("sh", "-c", f"man -P cat {page}")
        need("DESCRIPTION" in text and len(text) > 500, f"man {page}: {text}")
    need("respaldo-drill" in inside("sh", "-c", "mandb -q; man -k respaldo"), "man -k")
    offered = inside("bash", "-c", "source /usr/share/bash-completion/bash_completion; _completion_loader respaldo; complete -p respaldo; "
                     "COMP_LINE='respaldo back' COMP_POINT=13; _respaldo; echo ${COMPREPLY[@]}")
    need("complete -F _respaldo respaldo" in offered and "backup" in offered.split(), offered)
    # A changed configuration survives removal, and goes with a purge.
    inside("sh", "-c", "echo '# mine' >>/etc/respaldo/respaldo.toml")
    inside("apt-get", "remove", "-y", "respaldo")
    need("# mine" in (root / "etc/respaldo/respaldo.toml").read_text(), "the configuration is gone")
    inside("apt-get", "purge", "-y", "respaldo")
    need(not (root / "etc/respaldo").exists() and not (root / "usr/bin/respaldo").exists(), "left after a purge")


def main():
    work = pathlib.Path(tempfile.mkdtemp(prefix="respaldo-package-"))
    try:
        package = build_package(work)
        look_at(package)
        if os.geteuid() != 0:
            sys.exit("NOT TESTED beyond the package's content: chroot and debootstrap need root")
        root = work / "root"
        make_root(root)
        shutil.copyfile(package, root / "respaldo.deb")
        mounts = [("proc", "proc"), ("sysfs", "sys")]
        mounted = []
        try:
            for kind, where in mounts:
                run(["mount", "-t", kind, kind, root / where])
                mounted.append(root / where)
            try_it(root)
        finally:
            for where in reversed(mounted):
                run(["umount", where], expect=None)
    finally:
        shutil.rmtree(work, ignore_errors=True)


main()
