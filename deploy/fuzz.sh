#!/bin/sh
# fuzz.sh BUDGET [TARGET...]: fuzz every target of this repository, or those
# named, one after the other. BUDGET is for each: a time (30s) or a number of
# executions (2000x). Prints one line for each and fails if one found something;
# the input is then in testdata/fuzz beside the test, and is a test from there on.
set -u
budget=${1:?give a time such as 30s, or a number of executions such as 2000x}
shift
: "${GO:=go}"
logs=out/fuzz
cd "$(dirname "$0")/.." && mkdir -p "$logs" || exit 1

# fuzz PACKAGE TARGET: one target; sets verdict and executions.
fuzz() {
	log=$logs/$(echo "$1" | tr / -)-$2.log
	# A target that hangs would keep an execution budget for ever. Building may
	# take minutes where nothing was built before.
	case $budget in *x) limit=900 ;; *) limit=0 ;; esac
	timeout -k 5 $limit "$GO" test "./$1" -run '^$' -fuzz "^$2\$" -fuzztime "$budget" -fuzzminimizetime 2000x >"$log" 2>&1
	status=$?
	executions=$(sed -n 's/.*execs: \([0-9]*\).*/\1/p' "$log" | tail -n 1)
	if [ $status -eq 0 ]; then
		verdict=ok
	elif [ $status -lt 124 ] && grep -q '^ *context deadline exceeded$' "$log" && ! grep -q 'Failing input\|panic\|_test.go:' "$log"; then
		# Go 1.26 takes the end of a time budget for a failure when a worker is
		# slow to stop (golang.org/issue/75804). No input failed.
		verdict=ok
	else
		verdict=FAILED
	fi
}

targets=$(git grep -o '^func Fuzz[A-Za-z0-9_]*' -- '*_test.go' | sed 's/:func /:/')
failed=0 run=0 total=0
for entry in $targets; do
	package=$(dirname "${entry%%:*}") target=${entry##*:}
	case " ${*:-$target} " in *" $target "*) ;; *) continue ;; esac
	began=$(date +%s)
	fuzz "$package" "$target"
	run=$((run + 1)) total=$((total + ${executions:-0}))
	printf '%-28s %-18s %9s executions %4ss  %s\n' "$package" "$target" "${executions:-0}" $(($(date +%s) - began)) "$verdict"
	if [ "$verdict" != ok ]; then
		failed=$((failed + 1))
		tail -n 30 "$log"
	fi
done
echo "$run targets, $total executions, $failed failed; logs in $logs"
if [ $failed -gt 0 ]; then
	echo "failing inputs:"
	git status --short --untracked-files=all -- '*testdata/fuzz/*'
fi
[ $run -gt 0 ] && [ $failed -eq 0 ]
