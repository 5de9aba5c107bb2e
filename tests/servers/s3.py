"""Repositories on a real S3 server, Ceph's: the conformance suite, a whole life beside restic, credentials that cannot remove
anything, wrong ones, and a full bucket. SIZE: see life.py. NO_DELETE=1: of all this the credentials that cannot remove alone."""
import re

import servers
from common import *
from life import Machine, Place, adopt, live, live_without_removing

STORE_TEST = os.environ["STORE_TEST"]


def suite(ceph):
    # Path style wholly; of buckets in the host's name what makes addresses.
    result = run([STORE_TEST, "--gtest_brief=1", "--gtest_filter=s3/*/0:s3/S3Server*:s3/*ranges*/1:s3/*sizes*/1:s3/*gone*/1"], expect=None)
    passed = re.search(r"\[  PASSED  \] (\d+) tests", result.stdout)
    need(result.returncode == 0 and passed and int(passed[1]) >= 28, f"the suite failed:\n{result.stdout}{result.stderr}")


def locks(ceph):
    status, text = ceph.request("GET", "/kept", "list-type=2&prefix=locks%2F")
    need(status == 200, f"listing the locks: {status} {text}")
    return text.count("<Key>")


def without_deleting(ceph, machine):
    """Credentials that may read and write, but not remove: backups work, and the locks that stay break none."""
    owner = Place(f"s3:{ceph.url}/kept")
    owner.respaldo("init")
    key, secret = "cannot-delete", "not a secret either"
    ceph.admin("user", "create", "--uid=keeper", "--display-name=keeper", f"--access-key={key}", f"--secret-key={secret}")
    status, text = ceph.request("PUT", "/kept", "policy=", json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam:::user/keeper"]},
         "Action": ["s3:GetObject", "s3:PutObject", "s3:ListBucket"], "Resource": ["arn:aws:s3:::kept", "arn:aws:s3:::kept/*"]},
        # An object is its writer's: not even who owns the bucket may read it, unless we say so.
        {"Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam:::user/test"]}, "Action": ["s3:*"],
         "Resource": ["arn:aws:s3:::kept", "arn:aws:s3:::kept/*"]}]}).encode())
    need(status in (200, 204), f"the bucket's policy: {status} {text}")
    ENV.update(AWS_ACCESS_KEY_ID=key, AWS_SECRET_ACCESS_KEY=secret)
    live_without_removing(owner, machine, "credentials that may remove", locks_stay=True)
    left = locks(ceph)
    need(left >= 3, f"only {left} locks are there: were the credentials not limited?")
    # Whoever may remove tidies up, and does what was refused.
    ENV.update(ceph.environment())
    said = owner.respaldo("unlock").stdout
    need(locks(ceph) == 0, f"of {left} locks of processes that have ended, {locks(ceph)} are still there: {said}")
    owner.respaldo("forget", "--keep-last", "1")
    owner.respaldo("prune", "--max-unused", "0")
    need(len(owner.backups()) == 1, "forget kept something else")
    owner.restic("check", "--read-data")
    print(f"backups without the right to remove anything left {left} locks, and broke nothing", flush=True)


def main():
    with folder() as work, servers.s3() as ceph:
        ENV.update(ceph.environment(), RESPALDO_TEST_S3=f"{ceph.url}/suite")
        machine = Machine(work)
        without_deleting(ceph, machine)
        if "NO_DELETE" in os.environ:
            return
        suite(ceph)
        location = f"s3:{ceph.url}/life/a/b"
        live(Place(location), machine)
        adopt(Place(f"s3:{ceph.url}/adopted"), machine)

        # Wrong and missing credentials.
        secret = ENV["AWS_SECRET_ACCESS_KEY"]
        ENV["AWS_SECRET_ACCESS_KEY"] = "another word"
        said = run([RESPALDO, "-r", location, "list"], expect=None)
        need(said.returncode != 0 and "SignatureDoesNotMatch" in said.stderr, f"wrong credentials are not named: {said.stderr}")
        need("another word" not in said.stderr, "a secret is shown")
        ENV["AWS_SECRET_ACCESS_KEY"] = secret

        # A full bucket: nothing is listed that is not whole, and the next try goes on.
        ceph.admin("quota", "set", "--quota-scope=bucket", "--uid=test", f"--max-size={8 * MIB}")
        ceph.admin("quota", "enable", "--quota-scope=bucket", "--uid=test")
        full = f"s3:{ceph.url}/full"
        run([RESPALDO, "-r", full, "init"])
        said = machine.images("-q", "-r", full, "backup", "vg0/data", expect=None)
        need(said.returncode != 0 and "full" in said.stderr, f"a full bucket is not named: {said.stderr}")
        need(backups(full) == [], "a backup is listed that is not there")
        ceph.admin("quota", "disable", "--quota-scope=bucket", "--uid=test")
        machine.images("-q", "-r", full, "backup", "vg0/data")
        restic(full, "check", "--read-data")
    print("lived on S3")


main()
