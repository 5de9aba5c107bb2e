# Each increment of the guest is, tree for tree and blob for blob, what the full backup after it is.
export RESTIC_PASSWORD=secret
restic -q --no-cache -r out/repository check --read-data
[ "$(wc -l <out/pairs)" = 4 ]
python3 - <<'PY'
import json
import subprocess


def restic(*words):
    return json.loads(subprocess.run(["restic", "--no-cache", "-r", "out/repository", *words], check=True,
                                     stdout=subprocess.PIPE).stdout)


def trees(lv, backup):
    def tree(name):
        return {n["name"]: n for n in restic("cat", "blob", name)["nodes"]}
    root = restic("cat", "snapshot", backup)["tree"]
    inside = tree(tree(tree(root)["vg"]["subtree"])[lv]["subtree"])
    return inside["files"]["subtree"], inside["image.raw"]["content"]


for line in open("out/pairs"):
    lv, increment, full, read = line.split()
    assert trees(lv, increment) == trees(lv, full), f"{lv}: the increment is not what a full backup is"
    print(f"{lv}: {read} bytes read")
PY
