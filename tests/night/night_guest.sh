# A night: what the timer runs, with a target on a disk of its own; then nights on which something goes wrong.
. "${HARNESS%/harness}/kernel/words.sh"
unset RESPALDO_REPOSITORY RESPALDO_PASSWORD
export RESPALDO_CONFIG=/run/respaldo.toml PATH="/run/bin:$PATH"
set -- $DISKS
vgcreate -qq vg0 $1
lvcreate -qq -n root -L 48M vg0
lvcreate -qq -n data -L 32M vg0
for name in root data; do
  mke2fs -q -t ext4 /dev/vg0/$name
  mkdir -p /run/$name
  mount -o noatime /dev/vg0/$name /run/$name
  head -c 9M /dev/urandom >/run/$name/noise
  cp -r /usr/share/common-licenses /run/$name/
done
mke2fs -q -t ext4 $2
mkdir -p /run/target /run/bin /run/metrics
mount $2 /run/target
echo "a night" >/run/password
chmod 600 /run/password

# The hooks stand for a database's. (A filesystem needs none: device-mapper freezes it, and would fail on a frozen one.)
cat >/run/bin/hook <<'H'
#!/bin/sh
echo "$1 $RESPALDO_HOOK" >>/run/hooks
case $1 in
  freeze) sync /run/data/noise && touch /run/frozen ;;
  thaw) rm -f /run/frozen ;;
  fail) echo the database is on fire >&2; exit 9 ;;
esac
H
printf '#!/bin/sh\n{ echo "to $*"; cat; } >/run/mail\n' >/run/bin/sendmail
chmod +x /run/bin/*
cat >/run/respaldo.toml <<'T'
[repositories.disk]
location = "/run/target/repository"
password-file = "/run/password"
[repositories.small]
location = "/run/small/repository"
password-file = "/run/password"
[defaults]
repository = "disk"
volumes = ["vg0/*"]
keep = { last = 2 }
prune-every = "always"
check-every = "always"
notify = { email = "root" }
[jobs.night]
metrics = "/run/metrics/night.prom"
[jobs.night.hooks]
before-snapshot = "hook freeze"
after-snapshot = "hook thaw"
success = "hook success"
failure = "hook failure"
[jobs.badhook]
metrics = "/run/metrics/badhook.prom"
[jobs.badhook.hooks]
before-snapshot = "hook fail"
after-snapshot = "hook thaw"
failure = "hook failure"
[jobs.full]
metrics = "/run/metrics/full.prom"
repository = "small"
T

# What the unit runs, with the program in the installed one's place.
command=$(sed -n 's|^ExecStart=/usr/bin/respaldo ||p' "${HARNESS%/tests/harness}/packaging/systemd/respaldo@.service")
[ "$command" = "run %i" ]
night() {
  rm -f /run/hooks /run/mail /run/metrics/*.prom
  expect "$1" "$RESPALDO" $(echo "$command" | sed "s/%i/$2/")
  nothing_left
}
metric() { grep -q "^respaldo_job_$1{job=\"$2\"[^}]*} $3\$" "/run/metrics/$2.prom" || { cat /run/metrics/*.prom >&2; return 1; }; }
told() { grep -q "^Subject: respaldo: job $1 on .* FAILED" /run/mail && grep -q "$2" /run/mail || { cat /run/mail >&2; return 1; }; }

"$RESPALDO" -r /run/target/repository -p /run/password init
expect 0 "$RESPALDO" config check
# Three good nights: two backups are kept.
for i in 1 2 3; do
  head -c 1M /dev/urandom >/run/root/new$i
  night 0 night
  says "all went well"
  printf 'freeze before-snapshot\nthaw after-snapshot\nsuccess success\n' | diff - /run/hooks
  [ ! -e /run/mail ]
done
metric exit_code night 0
metric cow_peak_ratio night '0\.[0-9]*'
grep -q '^respaldo_job_last_check_timestamp_seconds' /run/metrics/night.prom
[ "$("$RESPALDO" -r /run/target/repository -p /run/password --json list | grep -o '"short_id"' | wc -l)" = 2 ]
[ ! -e /run/frozen ]

# A hook fails.
night 1 badhook
told badhook "the database is on fire"
metric exit_code badhook 1
printf 'fail before-snapshot\nthaw after-snapshot\nfailure failure\n' | diff - /run/hooks
# The target is full.
mkdir -p /run/small
mount -t tmpfs -o size=4M tmpfs /run/small
"$RESPALDO" -r /run/small/repository -p /run/password init
night 1 full
told full "No space left"
metric exit_code full 1
[ "$("$RESPALDO" -r /run/small/repository -p /run/password --json list)" = "[]" ]
# The target is missing: its disk was unplugged.
umount /run/target
night 10 night
told night "there is no repository"
metric exit_code night 10
printf 'failure failure\n' | diff - /run/hooks
mount $2 /run/target

# The latest backup stands a drill.
expect 0 "$RESPALDO" -r /run/target/repository -p /run/password drill --scratch /run --sample all
says "vg0/root.*GOOD"
says "vg0/data.*GOOD"
umount /run/target /run/root /run/data
