//! What the system refuses: space, writing, folders, descriptors.
//!
//! A full disk and one that cannot be written to are small file systems of the recorder's own, in a namespace that ends with it.

use std::fs;
use std::process::Command;

use super::line::{LeftOut, Line};
use super::run::{Run, harming, seen, stream, together};
use super::scale::Scale;
use crate::support::recorder::Recorder;
use crate::support::upstream::Upstream;

/// A small disk for the traces.
const SMALL_DISK: &str = "mkdir traces && mount -t tmpfs -o size=512k tmpfs traces && exec \"$@\"";

/// As many files and sockets as a recorder of eight exchanges needs.
const FEW_DESCRIPTORS: &str = "ulimit -n 64 && exec \"$@\"";

/// Why a case with a mount is left out. Other systems have no mounts of a process's own.
const NO_MOUNTS: LeftOut =
    if cfg!(target_os = "linux") { LeftOut::Lacks("leave to mount: root, or user namespaces") } else { LeftOut::BySystem };

pub(super) fn all(scale: &Scale) -> Vec<Line> {
    vec![full(scale), read_only(scale), deleted(scale), few_descriptors(scale)]
}

fn well() -> Upstream {
    harming(|_, answer| stream(answer))
}

/// How to give a program mounts of its own, if that is allowed here.
fn namespace() -> Option<&'static str> {
    let allowed = |words: &str| {
        let script = format!("{words} sh -c 'mount -t tmpfs tmpfs /mnt'");
        Command::new("sh").args(["-c", &script]).output().is_ok_and(|output| output.status.success())
    };
    ["unshare --mount", "unshare --user --map-root-user --mount"].into_iter().find(|words| allowed(words))
}

/// A recorder whose traces lie on a disk of 512 KB.
fn on_small_disk(case: &str, upstream: &str) -> Option<Run> {
    let words = namespace()?;
    let script = format!("exec {words} sh -c '{SMALL_DISK}' sh \"$@\"");
    Some(Run::seeing(case, Recorder::start_by_script(&script, upstream)))
}

fn full(scale: &Scale) -> Line {
    let case = "a full disk";
    let requests = scale.of(60);
    let upstream = well();
    let Some(mut run) = on_small_disk(case, &upstream.url()) else { return Line::left_out(case, NO_MOUNTS) };
    let filler = run.folder().join("filler");
    // Fails once all is full.
    fs::write(&filler, vec![0; 1 << 20]).unwrap_err();
    run.ask(requests, 8);
    fs::remove_file(&filler).unwrap();
    run.next_works();
    stops_with(&mut run, "No space left on device");
    // The file was made, and nothing could be written to it.
    run.line.expect(&[("whole", requests)], &[("left partial", requests)])
}

fn read_only(scale: &Scale) -> Line {
    let case = "a folder that cannot be written to";
    let requests = scale.of(20);
    let upstream = well();
    let Some(mut run) = on_small_disk(case, &upstream.url()) else { return Line::left_out(case, NO_MOUNTS) };
    let remount = |how: &str| {
        let process = run.recorder.id().to_string();
        let folder = run.recorder.session("");
        let mut command = Command::new("nsenter");
        // As root of the namespace, whoever that is outside.
        let is_root = rustix::process::geteuid().is_root();
        command.args(["--target", &process, "--mount"]).args(if is_root {
            &[][..]
        } else {
            &["--user", "--preserve-credentials"]
        });
        command.args(["mount", "-o", &format!("remount,{how}")]).arg(folder.parent().unwrap());
        assert!(command.status().unwrap().success());
    };
    remount("ro");
    let address = run.address().to_owned();
    let answers = together(requests, |_| super::run::ask(&address).answer());
    remount("rw");
    answers.iter().for_each(|answer| run.saw(seen(answer)));
    run.next_works();
    stops_with(&mut run, "Read-only file system");
    run.line.expect(&[("whole", requests)], &[])
}

/// The folder comes back by itself.
fn deleted(scale: &Scale) -> Line {
    let requests = scale.of(40);
    let upstream = well();
    let mut run = Run::start("a folder that is deleted again and again", &upstream.url());
    for _ in 0..requests {
        fs::remove_dir_all(run.folder()).unwrap();
        run.ask(1, 1);
    }
    fs::remove_dir_all(run.folder()).unwrap();
    run.next_works();
    run.stop().exits(0);
    run.line.expect(&[("whole", requests)], &[])
}

/// Clients wait until there are descriptors for them; none is turned away.
fn few_descriptors(scale: &Scale) -> Line {
    let requests = scale.of(200).next_multiple_of(64);
    let upstream = well();
    let recorder = Recorder::start_by_script(FEW_DESCRIPTORS, &upstream.url());
    let mut run = Run::with("64 streams at once with 64 descriptors", recorder);
    run.ask(requests, 64);
    run.end().expect(&[("whole", requests)], &[("complete", requests)])
}

/// Stops the recorder, which must have said why it could not write. Exit code 3 says so to programs.
fn stops_with(run: &mut Run, reason: &str) {
    let said = run.stop().exits(3).stderr;
    if !said.contains(reason) {
        run.line.fault(format!("{reason:?} was not said"));
    }
}
