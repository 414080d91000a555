# Waits until the program that started it has ended: until the end of standard input. Then stops the
# servers with the signal $1 and removes the directory $2.
#
# The servers are in the process group of this script, and 0 means this group. So no signal can reach
# a process that has got the number of a server since.
trap '' HUP INT QUIT ABRT TERM
read -r _
kill -s "$1" 0
# The signal also reaches a server that was stopped with SIGSTOP.
kill -s CONT 0
# A server that has not ended yet can create files meanwhile.
for _ in 1 2 3 4 5 6 7 8 9 10; do
    rm -rf "$2" && exit
    sleep 0.2
done
