cd out
export RESTIC_PASSWORD=secret
restic --no-cache -r repo unlock --remove-all
restic --no-cache -r repo check --read-data
