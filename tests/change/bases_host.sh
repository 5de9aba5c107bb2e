# Each increment of the guest is, tree for tree and blob for blob, what the full backup after it is.
export RESTIC_PASSWORD=secret
restic -q --no-cache -r out/repository check --read-data
[ "$(wc -l <out/pairs)" -ge 2 ]
python3 - <<'PY'
import json
import subprocess


def restic(*words):
    return json.loads(subprocess.run(["restic", "--no-cache", "-r", "out/repository", *words], check=True,
                                     stdout=subprocess.PIPE).stdout)


def trees(volume, backup):
    def tree(name):
        return {n["name"]: n for n in restic("cat", "blob", name)["nodes"]}
    root = restic("cat", "snapshot", backup)["tree"]
    vg, lv = volume.split("/")
    inside = tree(tree(tree(root)[vg]["subtree"])[lv]["subtree"])
    return inside["files"]["subtree"], inside["image.raw"]["content"]


for line in open("out/pairs"):
    volume, increment, full, read = line.split()
    assert trees(volume, increment) == trees(volume, full), f"{volume}: the increment is not what a full backup is"
    print(f"{volume}: {read} bytes read")
PY
[ ! -e out/figures ] || cat out/figures
