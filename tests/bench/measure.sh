# shellcheck shell=bash
# The measurements: CPU time of a server under load, memory of a server that
# holds connections. One line for each goes to results.tsv, which report.awk
# reads. Read by run, after servers.sh.

# CPU time so far, over the processes of a server: nanoseconds from the
# scheduler, then ticks in user and in system mode.
cpu_time() {
  local process
  for process in $(processes "$1"); do
    cat "/proc/$process/task/"*/schedstat
    sed 's/.*) / /' "/proc/$process/stat" # a command's name may have spaces
  done | awk 'NF == 3 { ns += $1 } NF > 3 { user += $12; kernel += $13 }
              END { printf "%.0f %d %d\n", ns, user, kernel }'
}

# KiB resident, over the processes of a server; pages they share count once.
memory() {
  local process
  for process in $(processes "$1"); do
    cat "/proc/$process/smaps_rollup"
  done | awk '/^Pss:/ { kib += $2 } END { print kib }'
}

# load SERVER PATH DEPTH SECONDS: prints "requests seconds p50 p99".
load() {
  local log=$OUT/wrk.log requests seconds p50 p99 failures
  "${on_client_core[@]}" wrk -t1 -c64 "-d${4}s" -s "$BENCH/load.lua" \
    -H "User-Agent: bench" "${url[$1]}$2" -- "$3" >"$log" 2>&1 ||
    { cat "$log" >&2; fail "wrk failed against $1"; }
  read -r requests seconds p50 p99 failures < <(sed -n 's/^figures //p' "$log") || true
  if [ "${requests:-0}" = 0 ] || [ "$failures" != 0 ]; then
    cat "$log" >&2
    fail "$1: socket errors, timeouts or answers other than 2xx"
  fi
  echo "$requests $seconds $p50 $p99"
}

measure_cpu() {
  local name=$1 server=$2 path=$3 depth=$4 round=$5 before after figures
  before=$(cpu_time "$server")
  figures=$(load "$server" "$path" "$depth" "$DURATION")
  after=$(cpu_time "$server")
  # wrk reckons with one answer for each write: no latencies when pipelined.
  echo "$before $after $figures" | awk -v OFS='\t' -v name="$name" \
    -v server="$server" -v round="$round" -v depth="$depth" '{
      ticks = ($5 - $2) + ($6 - $3)
      print "cpu", name, server, round, ($4 - $1) / $7 / 1000, \
        ticks ? ($5 - $2) / ticks : 0, $7 / $8, \
        (depth > 1 ? "-" : $9), (depth > 1 ? "-" : $10), ($4 - $1) / $8 / 1e9
    }' >>"$RESULTS"
  tail -n 1 "$RESULTS" | awk '{
    printf "%-9s round %d  %-5s %7.2f us each, %3.0f%% user, %7.0f/s, %3.0f%% busy\n", \
      $2, $4, $3, $5, $6 * 100, $7, $10 * 100 }'
}

# Until the server has been at rest for a second, so that it has taken in all
# that was sent and had time to give back what it can.
settle() {
  local quiet=0 tries before now
  before=$(cpu_time "$1")
  for ((tries = 0; tries < 40 && quiet < 4; tries++)); do
    sleep 0.25
    now=$(cpu_time "$1")
    if [ $((${now%% *} - ${before%% *})) -lt 1000000 ]; then
      quiet=$((quiet + 1))
    else
      quiet=0
    fi
    before=$now
  done
}

# hold SERVER COUNT PATH MODE: connections.c, until release.
hold() {
  local line
  coproc HOLD { exec "${on_client_core[@]}" "$OUT/connections" \
    "${url[$1]##*:}" "$2" "$3" "$4"; }
  # shellcheck disable=SC2153 # HOLD_PID is bash's; it goes when the process ends
  hold_pid=$HOLD_PID
  exec {hold_out}<&"${HOLD[0]}" {hold_in}>&"${HOLD[1]}"
  eval "exec ${HOLD[0]}<&- ${HOLD[1]}>&-"
  read -r -t 120 line <&"$hold_out" || line=
  [ "$line" = ready ] || fail "$1 does not take $2 connections"
}

release() {
  exec {hold_in}>&-
  wait "$hold_pid" || fail "$1 did not answer each of its connections"
  exec {hold_out}<&-
}

measure_memory() {
  local name=$1 server=$2 path=$3 mode=$4 before after
  hold "$server" 100 / answered # warm: what the first requests load
  release "$server"
  settle "$server"
  before=$(memory "$server")
  hold "$server" "$COUNT" "$path" "$mode"
  settle "$server"
  after=$(memory "$server")
  release "$server"
  printf 'memory\t%s\t%s\t%s\n' "$name" "$server" \
    "$(((after - before) * 1024 / COUNT))" >>"$RESULTS"
  echo "$name  $server: $before KiB, with $COUNT connections $after KiB"
}

describe_machine() {
  echo
  echo "$(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1)," \
    "$(nproc) cores, Linux $(uname -r);" \
    "$(nginx -v 2>&1 | sed 's/.*: //'), $(wrk -v 2>&1 | awk 'NR == 1 { print $1, $2 }')" \
    "with 1 thread and 64 connections; medians of $ROUNDS rounds of $DURATION s."
  echo
}
