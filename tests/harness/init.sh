#!/bin/sh
# Process 1 of the guest, sourced by the few lines that run_guest writes ahead of it (HARNESS, GUEST, OUT, DISKS,
# MODULES and what --env gave). Prepares an lvm2 that touches nothing of the host, whose file tree is the guest's
# root, runs $GUEST in $OUT, leaves its status in $OUT/rc and powers off.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/run/home TZ=UTC LC_ALL=C
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
status=0
if grep -q '^[^ ]* /dev devtmpfs ' /proc/mounts; then
  # Hundreds of terminals that nobody uses: lvm2 would look at each, every time.
  rm -f /dev/tty[0-9a-zS]* /dev/pty[a-z]*
  mkdir -p /dev/pts && mount -t devpts devpts /dev/pts
else
  # The kernel mounts it by itself; without it these are the host's own, and we may be root.
  echo "guest: /dev is the host's" && status=253
fi
# Programs start in half the time (see map_ahead.c).
if [ -n "${MAP_AHEAD:-}" ]; then
  cp "$MAP_AHEAD" /run/map_ahead.so && export LD_AUDIT=/run/map_ahead.so
fi
mkdir -p /run/home /run/lvm /run/lock/lvm /run/lvmsys /run/kernel/lib/modules

# mke2fs leaves inode tables for the kernel to zero when it finds time: a volume that is compared with itself a moment
# later must have no such writer.
export MKE2FS_CONFIG=/run/mke2fs.conf
sed 's/^\[defaults\]/&\nlazy_itable_init = false\nlazy_journal_init = false/' /etc/mke2fs.conf >$MKE2FS_CONFIG
grep -q lazy_itable_init $MKE2FS_CONFIG || { echo "guest: /etc/mke2fs.conf has no [defaults]" && status=253; }

# modprobe wants <folder>/lib/modules; a machine without a kernel of its own has no /lib/modules to mount over.
mount --bind /usr/lib/uml/modules /run/kernel/lib/modules
export MODPROBE_OPTIONS="-d /run/kernel"
printf '#!/bin/sh\nexec /sbin/modprobe -d /run/kernel "$@"\n' >/run/modprobe
chmod +x /run/modprobe
echo /run/modprobe >/proc/sys/kernel/modprobe

# Without udev libdm makes the nodes itself. The private folder keeps the host's /etc/lvm untouched.
export DM_DISABLE_UDEV=1 LVM_SYSTEM_DIR=/run/lvmsys LVM_SUPPRESS_FD_WARNINGS=1
cat >/run/lvmsys/lvm.conf <<'CONF'
devices { dir="/dev" scan=["/dev"] use_devicesfile=0 hints="none"
          filter=["a|^/dev/ubd|","a|^/dev/mapper/|","r|.*|"] types=["ubd",16] }
global { locking_dir="/run/lock/lvm" use_lvmpolld=0 use_lvmlockd=0 }
activation { udev_sync=0 udev_rules=0 monitoring=0 }
backup { backup_dir="/run/lvmsys/backup" archive_dir="/run/lvmsys/archive" }
CONF

for module in dm-mod dm-snapshot dm-thin-pool $MODULES; do
  modprobe "$module" || { echo "guest: no module $module" && status=253; }
done
if [ $status = 0 ]; then
  # A shell of its own: a script that exits does not take process 1 with it.
  (cd "$OUT" && exec sh -eu -c '. "$HARNESS/guest.sh"; set -x; . "$GUEST"') </dev/null
  status=$?
fi
echo "guest: exit $status"
# Renamed into place: the host never sees half a status.
echo $status >"$OUT/rc.new" && mv "$OUT/rc.new" "$OUT/rc"
sync
poweroff -f
