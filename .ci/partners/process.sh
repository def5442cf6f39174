# Starting servers, waiting for them, ending them. To be sourced. All listen on the loopback interface only.

pids=()

# free_port: prints a port that nobody listens to; from below those that the system gives to connections.
free_port() {
    local port
    while port=$((20000 + RANDOM % 12000)); (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
    echo "$port"
}

# answers PORT PATH: whether an HTTP server answers GET with 200.
answers() (
    exec 3<>"/dev/tcp/127.0.0.1/$1" || exit
    printf 'GET %s HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' "$2" >&3
    read -r -t 5 _ status _ <&3
    [[ $status == 200 ]]
) 2>/dev/null

# launch LOG SECONDS READY... -- COMMAND...: starts a server and waits until READY succeeds. On failure `reason` says why.
launch() {
    local log=$1 seconds=$2 ready=() pid deadline
    shift 2
    while [[ $1 != -- ]]; do
        ready+=("$1")
        shift
    done
    shift
    "$@" >"$log" 2>&1 </dev/null &
    pid=$!
    pids+=("$pid")
    deadline=$((SECONDS + seconds))
    until "${ready[@]}"; do
        if ! kill -0 "$pid" 2>/dev/null; then
            reason="$(basename "$log" .log) ended at its start: $(tail -n 1 "$log")"
            return 1
        elif ((SECONDS >= deadline)); then
            reason="$(basename "$log" .log) was not ready after $seconds s"
            return 1
        fi
        sleep 0.1
    done
}

# stop: ends what was launched, the last first.
stop() {
    local index tries
    for ((index = ${#pids[@]} - 1; index >= 0; index--)); do
        kill "${pids[index]}" 2>/dev/null || true
        for ((tries = 0; tries < 100; tries++)); do
            kill -0 "${pids[index]}" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "${pids[index]}" 2>/dev/null || true
    done
    pids=()
}
