trap - DEBUG ERR EXIT; set +o errtrace
if [ -s "$rsctl_at".failed ]; then export RSCTL_SETUP_FAILED="${RSCTL_SETUP_FAILED:+$RSCTL_SETUP_FAILED, }$(head -n 1 "$rsctl_at".failed)"; fi
: >| "$rsctl_at" || :
rm -f "$rsctl_at" "$rsctl_at".failed
