# Starts the server. At the first line of standard input, which names a signal, stops it. At the end
# of standard input, which comes when the program that started this script closes the pipe or is
# killed, removes the directory, unless a line was `keep`. The directory `servers` has a file for each
# server that runs: only the last one that ends can remove it.
signal=$1 directory=$2 log=$3
shift 3
exec 3<&0
"$@" </dev/null >"$directory/$log" 2>&1 3<&- &
server=$!
mkdir -p "$directory/servers"
: >"$directory/servers/$server"
(
    read -r line <&3
    kill -s "${line:-$signal}" $server
    tries=0
    while kill -0 $server; do
        sleep 0.05
        tries=$((tries + 1))
        [ $tries = 200 ] && kill -s KILL $server
    done
    rm -f "$directory/servers/$server"
    grep -q keep <&3 || { rmdir "$directory/servers" && rm -rf "$directory"; }
) &
wait $server
rm -f "$directory/servers/$server"
