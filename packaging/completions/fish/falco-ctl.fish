# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_falco_ctl_global_optspecs
    string join \n h/help V/version
end

function __fish_falco_ctl_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_falco_ctl_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_falco_ctl_using_subcommand
    set -l cmd (__fish_falco_ctl_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c falco-ctl -n "__fish_falco_ctl_needs_command" -s h -l help -d 'Print help'
complete -c falco-ctl -n "__fish_falco_ctl_needs_command" -s V -l version -d 'Print version'
complete -c falco-ctl -n "__fish_falco_ctl_needs_command" -f -a "driver" -d 'The kernel module'
complete -c falco-ctl -n "__fish_falco_ctl_using_subcommand driver; and not __fish_seen_subcommand_from doctor build sign load unload status" -s h -l help -d 'Print help'
complete -c falco-ctl -n "__fish_falco_ctl_using_subcommand driver; and not __fish_seen_subcommand_from doctor build sign load unload status" -f -a "doctor" -d 'Say, in order, what this host lacks for the module, and the command that mends each; status 1 when something is missing'
complete -c falco-ctl -n "__fish_falco_ctl_using_subcommand driver; and not __fish_seen_subcommand_from doctor build sign load unload status" -f -a "build" -d 'Compile the module for a kernel and install it; by DKMS where that knows the module'
complete -c falco-ctl -n "__fish_falco_ctl_using_subcommand driver; and not __fish_seen_subcommand_from doctor build sign load unload status" -f -a "sign" -d 'Sign a module with this host\'s machine-owner key'
complete -c falco-ctl -n "__fish_falco_ctl_using_subcommand driver; and not __fish_seen_subcommand_from doctor build sign load unload status" -f -a "load" -d 'Put the installed module into the kernel; one of another build that is there already makes room'
complete -c falco-ctl -n "__fish_falco_ctl_using_subcommand driver; and not __fish_seen_subcommand_from doctor build sign load unload status" -f -a "unload" -d 'Take the module out of the kernel'
complete -c falco-ctl -n "__fish_falco_ctl_using_subcommand driver; and not __fish_seen_subcommand_from doctor build sign load unload status" -f -a "status" -d 'Say what is loaded and installed; status 1 when the sensor could not use it'
complete -c falco-ctl -n "__fish_falco_ctl_using_subcommand driver; and __fish_seen_subcommand_from doctor" -s h -l help -d 'Print help'
complete -c falco-ctl -n "__fish_falco_ctl_using_subcommand driver; and __fish_seen_subcommand_from build" -l kernel -d 'For this kernel [default: the running one]' -r
complete -c falco-ctl -n "__fish_falco_ctl_using_subcommand driver; and __fish_seen_subcommand_from build" -l headers -d 'The kernel\'s headers [default: /lib/modules/RELEASE/build]' -r -F
complete -c falco-ctl -n "__fish_falco_ctl_using_subcommand driver; and __fish_seen_subcommand_from build" -l source -d 'The module\'s source [default: /usr/src/falco-sensor-VERSION]' -r -F
complete -c falco-ctl -n "__fish_falco_ctl_using_subcommand driver; and __fish_seen_subcommand_from build" -l output -d 'Write the module to this file instead of installing it' -r -F
complete -c falco-ctl -n "__fish_falco_ctl_using_subcommand driver; and __fish_seen_subcommand_from build" -l key -d 'Private key to sign with (PEM) [default: the machine-owner key where signatures are demanded]' -r -F
complete -c falco-ctl -n "__fish_falco_ctl_using_subcommand driver; and __fish_seen_subcommand_from build" -l cert -d 'Its certificate (DER or PEM)' -r -F
complete -c falco-ctl -n "__fish_falco_ctl_using_subcommand driver; and __fish_seen_subcommand_from build" -s h -l help -d 'Print help'
complete -c falco-ctl -n "__fish_falco_ctl_using_subcommand driver; and __fish_seen_subcommand_from sign" -l key -d 'Private key to sign with (PEM) [default: the machine-owner key where signatures are demanded]' -r -F
complete -c falco-ctl -n "__fish_falco_ctl_using_subcommand driver; and __fish_seen_subcommand_from sign" -l cert -d 'Its certificate (DER or PEM)' -r -F
complete -c falco-ctl -n "__fish_falco_ctl_using_subcommand driver; and __fish_seen_subcommand_from sign" -s h -l help -d 'Print help'
complete -c falco-ctl -n "__fish_falco_ctl_using_subcommand driver; and __fish_seen_subcommand_from load" -l module -d 'Load this file rather than the installed module' -r -F
complete -c falco-ctl -n "__fish_falco_ctl_using_subcommand driver; and __fish_seen_subcommand_from load" -s h -l help -d 'Print help'
complete -c falco-ctl -n "__fish_falco_ctl_using_subcommand driver; and __fish_seen_subcommand_from unload" -s h -l help -d 'Print help'
complete -c falco-ctl -n "__fish_falco_ctl_using_subcommand driver; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help'
