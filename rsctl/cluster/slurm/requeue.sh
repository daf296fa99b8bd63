rsctl_job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
rsctl_job=${rsctl_job:-$SLURM_JOB_ID}
export RSCTL_NOT_YET_LISTENING=FOLDER/$rsctl_job.starts
echo "$(date +%s)" >> "$RSCTL_NOT_YET_LISTENING"
rsctl_requeue() {
    trap - EXIT
    # One that was cancelled or pre-empted isn't ours to revive.
    case " $(scontrol show job --oneliner "$SLURM_JOB_ID") " in
        *" JobState=RUNNING "* | *" JobState=TIMEOUT "* | *" JobState=CONFIGURING "*) ;;
        *) exit 1 ;;
    esac
    if [ "$(wc -l < "$RSCTL_NOT_YET_LISTENING")" -ge ATTEMPTS ]; then
        echo "rsctl: error: SLURM's warning came ATTEMPTS times before Python had started. Give it more time: retry with --minutes" >&2
        exit 1
    fi
    echo "rsctl: warned before Python listened; requeued as $rsctl_job" >&2
    scontrol requeue "$rsctl_job" && exit 0
    exit 1
}
trap rsctl_requeue USR2
rsctl_run() {
    rsctl_step= rsctl_warned= rsctl_again=
    trap 'rsctl_warned=1 rsctl_again=1; [ -z "$rsctl_step" ] || kill -USR2 "$rsctl_step" || true' USR2
    "$@" &
    rsctl_step=$!
    [ -z "$rsctl_warned" ] || kill -USR2 "$rsctl_step" || true
    rsctl_again=1
    while [ -n "$rsctl_again" ]; do
        rsctl_again=
        rsctl_code=0
        wait "$rsctl_step" || rsctl_code=$?
    done
    # 140 and 143: killed by USR2 or TERM.
    if [ -e "$RSCTL_NOT_YET_LISTENING" ]; then
        case "${rsctl_warned:-0} $rsctl_code" in "1 "[1-9]* | *" 140" | *" 143") rsctl_requeue ;; esac
    fi
    exit "$rsctl_code"
}
