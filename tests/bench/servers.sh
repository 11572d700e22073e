# shellcheck shell=bash
# The servers of the bench: starts them on loopback, checks what they answer,
# and ends them. It ends only what it started, by process id. Read by run,
# which defines BENCH, OUT, WEFT and fail.

declare -A pid=() # of the process started, by the server's name
declare -A url=() # where it listens

# With two cores the server has the first one to itself.
on_server_core=() on_client_core=()
if taskset -c 0 true 2>/dev/null && taskset -c 1 true 2>/dev/null; then
  on_server_core=(taskset -c 0)
  on_client_core=(taskset -c 1)
fi

# await SERVER CONDITION...: until it holds, for 10 s, while the server lives.
await() {
  local server=$1 tries
  shift
  for ((tries = 0; tries < 200; tries++)); do
    "$@" && return 0
    kill -0 "${pid[$server]}" 2>/dev/null || return 1
    sleep 0.05
  done
  return 1
}

# start SERVER CORE COMMAND...: for those that announce their port themselves.
# CORE is the name of the array that pins the process.
start() {
  local server=$1 log=$OUT/$1.log
  local -n core=$2
  shift 2
  rm -f "$log" # an earlier server's port must not be taken for this one's
  "${core[@]}" "$@" >"$log" 2>"$log.err" &
  pid[$server]=$!
  await "$server" grep -qs 'listening on http' "$log" || {
    cat "$log" "$log.err" >&2
    fail "$server does not start"
  }
  url[$server]=$(sed -n 's/.*listening on \(http[^ ]*\).*/\1/p' "$log" | head -n 1)
}

start_floor() { start floor on_server_core "$OUT/floor" hello; }

start_upstream() {
  start upstream on_client_core "$OUT/floor" upstream
  export BENCH_UPSTREAM=${url[upstream]}
}

start_weft() {
  start weft on_server_core \
    "$WEFT" run "$BENCH/app/app.lua" --listen 127.0.0.1:0 --workers 1
}

# nginx cannot be asked for a free port, so it tries some, below those that the
# kernel hands out. Its pid file appears once it listens.
start_nginx() {
  local prefix=$OUT/nginx modules port tries
  for modules in /usr/lib/nginx/modules /usr/share/nginx/modules; do
    [ ! -f "$modules/ngx_http_lua_module.so" ] || break
  done
  mkdir -p "$prefix"
  for ((tries = 0; tries < 10; tries++)); do
    port=$((20000 + RANDOM % 10000))
    sed -e "s#@MODULES@#$modules#" -e "s#@BENCH@#$BENCH#" -e "s#@PORT@#$port#" \
      "$BENCH/nginx.conf.in" >"$prefix/nginx.conf"
    rm -f "$prefix/nginx.pid"
    "${on_server_core[@]}" nginx -e stderr -p "$prefix" -c nginx.conf \
      >"$OUT/nginx.log" 2>&1 &
    pid[nginx]=$!
    url[nginx]=http://127.0.0.1:$port
    await nginx test -s "$prefix/nginx.pid" && return 0
    grep -q 'Address already in use' "$OUT/nginx.log" || break
  done
  cat "$OUT/nginx.log" >&2
  fail "nginx does not start"
}

# The process of a server and its children: supervisor or master, and worker.
processes() { echo "${pid[$1]}"; pgrep -P "${pid[$1]}" || true; }

stop_servers() {
  local server tries process family
  for server in "${!pid[@]}"; do
    family=$(processes "$server")
    kill "${pid[$server]}" 2>/dev/null || true
    for ((tries = 0; tries < 60; tries++)); do
      kill -0 "${pid[$server]}" 2>/dev/null || break
      sleep 0.05
    done
    for process in $family; do
      if kill -KILL "$process" 2>/dev/null; then
        echo "bench: $server had to be killed, process $process" >&2
      fi
    done
    wait "${pid[$server]}" 2>/dev/null || true
    unset "pid[$server]"
  done
}

# What must be the same everywhere, a line each: status, the fields, the body.
answer() {
  curl -sS --max-time 5 -D - "$1" | tr -d '\r' | awk '
    NR == 1 { print $2; next }
    in_body { print; next }
    /^$/ { in_body = 1; next }
    tolower($1) ~ /^(content-type|content-length|x-custom-header|x-request-path):$/ {
      print tolower($1), substr($0, length($1) + 2)
    }' | LC_ALL=C sort
}

# check_answer SERVER PATH: nothing is measured that answers something else.
check_answer() {
  local body="Hello, World!" expected got
  [ "$2" = / ] || body=$(curl -sS --max-time 5 "${url[upstream]}")
  expected=$(printf '%s\n' 200 "content-type: text/plain; charset=utf-8" \
    "content-length: ${#body}" "x-custom-header: Hello" "x-request-path: $2" \
    "$body" | LC_ALL=C sort)
  got=$(answer "${url[$1]}$2")
  [ "$got" = "$expected" ] ||
    fail "$1 answers $2 with"$'\n'"$got"$'\ninstead of\n'"$expected"
}
