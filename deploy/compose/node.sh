#!/bin/sh
# The parts of a node, each started again when it ends. On SIGTERM the controller says goodbye to its peers, then all of them end.
set -u
services=/run/dfaas/service
cp -r /etc/dfaas/service $services
runsvdir -P $services &
trap 'sv -w 8 force-stop $services/controller $services/haproxy $services/spoa >/dev/null; kill $!; exit 0' TERM INT
wait
