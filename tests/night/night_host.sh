# The target's disk, seen from outside: restic finds nothing wrong in what the nights left.
mkdir target
debugfs -R "rdump /repository $PWD/target" disk1.img 2>/dev/null
echo "a night" >password
restic --no-cache -r target/repository -p password check --read-data
[ "$(restic --no-cache -r target/repository -p password snapshots --json | grep -o '"short_id"' | wc -l)" = 2 ]
