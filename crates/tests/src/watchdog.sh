# Ends what a process has started when that process itself is gone, however it went: the kernel then
# closes the pipe that this reads as its standard input.
#
# Its lines: "+ GROUP" when a process group was started, "- GROUP" when it has ended, "/ FOLDER" for
# a folder to remove. Its argument: the seconds between SIGTERM and SIGKILL, 0 for SIGKILL at once.

# A Ctrl-C or a closing terminal is for whoever is watched; this must outlive it.
trap '' HUP INT TERM
tenths=$(($1 * 10))
shift
groups=' '
while read -r what which; do
    case "$what" in
        +) groups="$groups$which " ;;
        -) groups="${groups%% $which *} ${groups#* $which }" ;;
        /) set -- "$@" "$which" ;;
    esac
done

tell() {
    for group in $groups; do kill -s "$1" -- "-$group" 2>/dev/null && told=yes; done
}
if [ "$tenths" -gt 0 ]; then
    tell TERM
    while told=no; tell 0; [ "$told" = yes ] && [ "$tenths" -gt 0 ]; do
        tenths=$((tenths - 1))
        sleep 0.1
    done
fi
tell KILL
rm -rf -- "$@"
