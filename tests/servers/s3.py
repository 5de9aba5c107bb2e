"""Repositories on a real S3 server, Ceph's: the conformance suite, a whole life beside restic, wrong credentials, and a full
bucket. SIZE: see life.py."""
import re

import servers
from common import *
from life import Machine, Place, adopt, live

STORE_TEST = os.environ["STORE_TEST"]


def suite(ceph):
    # Path style wholly; of buckets in the host's name what makes addresses.
    result = run([STORE_TEST, "--gtest_brief=1", "--gtest_filter=s3/*/0:s3/S3Server*:s3/*ranges*/1:s3/*sizes*/1:s3/*gone*/1"], expect=None)
    passed = re.search(r"\[  PASSED  \] (\d+) tests", result.stdout)
    need(result.returncode == 0 and passed and int(passed[1]) >= 28, f"the suite failed:\n{result.stdout}{result.stderr}")


def main():
    with folder() as work, servers.s3() as ceph:
        ENV.update(ceph.environment(), RESPALDO_TEST_S3=f"{ceph.url}/suite")
        machine = Machine(work)
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
