#!/usr/bin/env bash
# Tests and measures the GPU path on a machine with a GPU, which needs neither Go
# nor a network. Usage: scripts/device.sh DIR OUT [tests|bench|sanitizer|all]
#
# DIR is what scripts/device-build (make device) made elsewhere; OUT gets the
# results. Python with PyTorch, nvcc and compute-sanitizer are used where they
# are; what could not be done says why. Everything ends within DEVICE_SECONDS (540),
# and a run that is stopped leaves what it had.
#
# On the software driver more tests run than on a device (those of faults), and
# all take longer: DEVICE_SECONDS=1800 DEVICE_TEST_SECONDS=600.
#
# DEVICE_FLAGS are further flags for the benchmark, such as -small or -only 'link'.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

dir=$(cd "$1" && pwd) || exit 1
mkdir -p "$2"
out=$(cd "$2" && pwd) || exit 1
what=${3:-all}
seconds=${DEVICE_SECONDS:-540}
each=${DEVICE_TEST_SECONDS:-60} # for the tests of one package
failures=0
unfinished= # checkers that did not come to an end
child=

work=$(mktemp -d)
stopped=
stop() {
	stopped=1
	[[ -z $child ]] || kill -TERM "$child" 2>/dev/null
}
trap stop TERM INT
trap 'rm -rf "$work"' EXIT

# part runs a command, its output in a log if one is named, so that a signal to
# this script reaches it at once.
part() {
	local log=$1 rc
	shift
	[[ -z $stopped ]] || return 143
	if [[ -n $log ]]; then "$@" >>"$log" 2>&1 & else "$@" & fi
	child=$!
	wait "$child"
	rc=$?
	while kill -0 "$child" 2>/dev/null; do
		wait "$child"
		rc=$?
	done
	child=
	return "$rc"
}

# say prints a line, and puts it into a log.
say() { echo "device: $2" | tee -a "$1"; }

# in_folder runs a command in a folder of the tree.
in_folder() {
	cd "$1" || return 1
	shift
	exec "$@"
}

left() { echo $((seconds - SECONDS)); }

# old says whether this machine's libc is older than the binaries want.
old() {
	local here
	here=$(ldd --version 2>/dev/null | sed -n '1s/.* \([0-9][0-9]*\.[0-9][0-9]*\)$/\1/p')
	[[ -n $here && $(printf '%s\n%s\n' "$here" "$(cat "$dir/glibc")" | sort -V | head -n 1) == "$here" && $here != "$(cat "$dir/glibc")" ]]
}
if old; then
	echo "device: the binaries want libc $(cat "$dir/glibc"), this machine's is older: build them on a system as old (docs/gpu.md)" >&2
	exit 1
fi

unpack() { [[ -f $work/$1 ]] || { gzip -dc "$dir/$1.gz" >"$work/$1" && chmod +x "$work/$1"; }; }

# tests runs every tagged test of every package; a missing device is a failure.
tests() {
	local list name package pattern rc limit log=$out/tests.log
	: >"$log"
	for list in "$dir"/*.tests; do
		name=$(basename "$list" .tests)
		{ read -r package && read -r pattern; } <"$list"
		limit=$(($(left) < each ? $(left) : each))
		if ((limit < 5)) || [[ -n $stopped ]]; then
			say "$log" "$package: not tested: time is up"
			failures=$((failures + 1))
			continue
		fi
		unpack "$name.test"
		part "$work/$name.log" in_folder "$package" timeout -k 5 "$limit" "$work/$name.test" \
			-test.v -test.timeout "$((limit - 2))s" -test.run "$pattern"
		rc=$?
		cat "$work/$name.log" >>"$log"
		say "$log" "$package: $(count PASS "$name") passed, $(count FAIL "$name") failed, $(count SKIP "$name") skipped, exit status $rc"
		if ((rc)); then
			grep -E '^ *--- FAIL' "$work/$name.log" | head -n 20
			failures=$((failures + 1))
		fi
	done
}

count() { grep -c "^--- $1" "$work/$2.log"; }

# bench measures, in the time that is left but for what comes after it.
bench() {
	local room=$(($(left) - $1))
	local -a flags
	if ((room < 10)) || [[ -n $stopped ]]; then
		echo "device: not measured: time is up"
		failures=$((failures + 1))
		return
	fi
	((room > 400)) && room=400
	unpack bench
	read -ra flags <<<"${DEVICE_FLAGS:-}"
	part "" "$work/bench" -out "$out" -work "$work" -tools bench/device -commit "$(cat "$dir/commit")" -budget "${room}s" "${flags[@]}" ||
		failures=$((failures + 1))
}

# sanitizer runs the kernels' tests under NVIDIA's checkers, which share the time
# that is left.
sanitizer() {
	local tool checker=compute-sanitizer limit rc pattern log=$out/sanitizer.log
	local -a tools=(memcheck racecheck synccheck initcheck)
	local several=${#tools[@]}
	: >"$log"
	command -v "$checker" >/dev/null || checker=/usr/local/cuda/bin/compute-sanitizer
	if [[ ! -x $(command -v "$checker") ]]; then
		say "$log" "sanitizer: not run: compute-sanitizer is not here"
		return
	fi
	unpack kernels.test
	pattern=$(sed -n 2p "$dir/kernels.tests")
	for tool in "${tools[@]}"; do
		limit=$(($(left) / several--))
		((limit > 120)) && limit=120
		if ((limit < 5)) || [[ -n $stopped ]]; then
			say "$log" "$tool: not run: time is up"
			unfinished="$unfinished $tool"
			continue
		fi
		part "$work/$tool.log" in_folder kernels timeout -k 5 "$limit" "$checker" --tool "$tool" --error-exitcode 9 \
			"$work/kernels.test" -test.v -test.run "$pattern"
		rc=$?
		cat "$work/$tool.log" >>"$log"
		checked "$log" "$tool" "$rc"
	done
}

# checked says what became of the tests under a checker. No failure is one under
# which no test began, as it does not work on this machine, or which had no time.
checked() {
	local log=$1 tool=$2 rc=$3 passed
	passed="$(count PASS "$tool") passed, $(count FAIL "$tool") failed, exit status $rc"
	if ((rc == 9)); then
		say "$log" "$tool: ERRORS: $passed, see sanitizer.log"
	elif grep -q '^ *--- FAIL' "$work/$tool.log"; then
		say "$log" "$tool: tests FAIL under it: $passed, see sanitizer.log"
	elif ((rc == 124 || rc == 137)); then
		say "$log" "$tool: not finished, no error until then: $passed"
		unfinished="$unfinished $tool"
		return
	elif ! grep -q '^=== RUN' "$work/$tool.log"; then
		say "$log" "$tool: not run: no test began under it, exit status $rc, see sanitizer.log"
		unfinished="$unfinished $tool"
		return
	elif ((rc)); then
		say "$log" "$tool: the tests END EARLY under it: $passed, see sanitizer.log"
	else
		say "$log" "$tool: no errors: $passed"
		return
	fi
	failures=$((failures + 1))
}

export KVFERRY_CUDA_REQUIRED=1 # a test that skips for want of a device fails
case $what in
tests) tests ;;
bench) bench 0 ;;
sanitizer) sanitizer ;;
all)
	tests
	bench 80
	sanitizer
	;;
*)
	echo "usage: scripts/device.sh DIR OUT [tests|bench|sanitizer|all]" >&2
	exit 2
	;;
esac

[[ -f $out/results.md ]] && sed -n '1,/^## The machine/p' "$out/results.md" | head -n -1
echo "device: $SECONDS s, $failures parts failed${unfinished:+; not finished:$unfinished}; results in $out"
((failures == 0)) && [[ -z $stopped ]]
