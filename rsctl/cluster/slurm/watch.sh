rsctl_failed() {
    case "$2" in "eval "*) set -- "$1" "its lines can't be read by bash, or one in brackets failed" ;; *) set -- "$1" "'$2'" ;; esac
    case "${RSCTL_SETUP_FAILED:-}" in *"$2"*) return 0 ;; esac
    export RSCTL_SETUP_FAILED="${RSCTL_SETUP_FAILED:+$RSCTL_SETUP_FAILED, }$2 (exit code $1)"
    # Variables of a subshell end with it.
    [ "$BASH_SUBSHELL" = 0 ] || echo "$2 (exit code $1)" 2>/dev/null >> "$rsctl_at".failed || :
    echo "rsctl: setup: $2 (exit code $1)" >&2
}
rsctl_left() {
    case "$3" in "eval "*) rsctl_failed "$1" "$2" ;; *) rsctl_failed "$1" "$3" ;; esac
    exit 1
}
rsctl_erred() {
    case "$5" in "" | source) ;; *) return 0 ;; esac
    if [ "$BASH_SUBSHELL" = 0 ]; then rsctl_failed "$1" "$2"; return; fi
    case "$3" in "eval "*) rsctl_failed "$1" "$4" ;; *"$4"*) rsctl_failed "$1" "$3" ;; *) rsctl_failed "$1" "$4" ;; esac
}
rsctl_line= rsctl_before=
set -o errtrace
trap 'rsctl_before=$rsctl_line rsctl_line=$BASH_COMMAND; echo "$BASH_COMMAND" 2>/dev/null >| "$rsctl_at" || :' DEBUG
trap 'rsctl_erred "$?" "$rsctl_before" "$rsctl_line" "$BASH_COMMAND" "${FUNCNAME:-}"' ERR
trap 'rsctl_left "$?" "$rsctl_before" "$rsctl_line"' EXIT
