//! `anyclaude model`: pulling from a server that speaks the hub's API, and what a pulled model's name is good for.

use std::fs;
use std::path::PathBuf;

#[cfg(feature = "mlx")]
use crate::support::changed_model::write_with_own_template;
use crate::support::deadline::until;
use crate::support::hub::{COMMIT, Hub, Repository};
use crate::support::output::{line_of, uncounted};
use crate::support::process::{Ran, Running, run};
use crate::support::sandbox::{Sandbox, repository};

/// The embedded model as a repository, with files that nobody needs.
fn tiny() -> Repository {
    let mut files = Repository::default().files;
    for entry in fs::read_dir(repository("fixtures/models/tiny")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            files.insert(path.file_name().unwrap().to_str().unwrap().into(), fs::read(&path).unwrap());
        }
    }
    for unneeded in ["README.md", "model.gguf", "onnx/config.json"] {
        files.insert(unneeded.into(), b"unneeded".to_vec());
    }
    Repository { files, ..Repository::default() }
}

fn weights() -> Vec<u8> {
    tiny().files["model.safetensors"].clone()
}

fn pull(sandbox: &Sandbox, hub: &Hub) -> Ran {
    pull_with(sandbox, hub, &[])
}

fn pull_with(sandbox: &Sandbox, hub: &Hub, variables: &[(&str, &str)]) -> Ran {
    let mut command = sandbox.anyclaude(&["model", "pull", "org/tiny"]);
    run(command.env("HF_ENDPOINT", &hub.url).envs(variables.iter().copied()))
}

/// The exit code and the last line of a pull that fails.
fn refusal(sandbox: &Sandbox, repository: Repository) -> String {
    let hub = Hub::start(repository);
    let ran = pull(sandbox, &hub);
    format!("exit {}: {}\n", ran.code.unwrap(), ran.stderr.lines().last().unwrap().replace(&hub.url, "HUB"))
}

/// Stops a pull with Ctrl-C once the disk holds the given number of bytes of the weights.
fn interrupt(sandbox: &Sandbox, hub: &Hub, bytes: usize) {
    let mut command = sandbox.anyclaude(&["model", "pull", "org/tiny"]);
    let mut running = Running::start(command.env("HF_ENDPOINT", &hub.url));
    until(format!("{bytes} bytes of the weights"), || (incomplete(sandbox) >= bytes as u64).then_some(()));
    running.signal("INT");
    let ran = running.end().exits(130);
    let last = uncounted(ran.stderr.lines().last().unwrap());
    insta::allow_duplicates! { insta::assert_snapshot!(last, @"stopped at N MB; pull again to go on from there") }
}

/// The size of the file that is growing.
fn incomplete(sandbox: &Sandbox) -> u64 {
    let files = fs::read_dir(folder(sandbox).join("blobs")).into_iter().flatten().map(|entry| entry.unwrap());
    let growing = files.filter(|file| file.file_name().to_string_lossy().ends_with(".incomplete"));
    growing.map(|file| file.metadata().map_or(0, |meta| meta.len())).max().unwrap_or(0)
}

/// The cache's folder of the model.
fn folder(sandbox: &Sandbox) -> PathBuf {
    sandbox.home(".cache/huggingface/hub/models--org--tiny")
}

/// The pulled weights.
fn pulled_weights(sandbox: &Sandbox) -> Vec<u8> {
    fs::read(folder(sandbox).join("snapshots").join(COMMIT).join("model.safetensors")).unwrap()
}

#[test]
fn a_pulled_model_is_found_by_its_name_and_by_other_tools() {
    let (sandbox, hub) = (Sandbox::new(), Hub::start(tiny()));
    let ran = pull(&sandbox, &hub).exits(0);
    // How much memory is free hangs on the machine. The embedded model fits everywhere.
    insta::assert_snapshot!(sandbox.portable(&ran.stderr), @"
    org/tiny: takes about 10.51 MB of memory, and 4.10 kB for each token: its context of 65,536 tokens fits here
    pulling org/tiny
    pulled 5.53 MB in [time]; run it with: anyclaude --model org/tiny
    ");

    // The layout that other tools know.
    let snapshot = folder(&sandbox).join("snapshots").join(COMMIT);
    assert_eq!(ran.stdout, format!("{}\n", snapshot.display()));
    assert_eq!(fs::read_to_string(folder(&sandbox).join("refs/main")).unwrap(), COMMIT);
    let link = fs::read_link(snapshot.join("model.safetensors")).unwrap();
    assert!(link.starts_with("../../blobs") && link.file_name().unwrap().len() == 64, "{link:?}");
    assert_eq!(pulled_weights(&sandbox), weights());
    assert!(!snapshot.join("README.md").exists() && !snapshot.join("onnx").exists());

    let listed = sandbox.run(&["model", "ls"]).stdout;
    insta::assert_snapshot!(sandbox.portable(&listed), @"org/tiny  qwen3  2.6 million parameters  5.25 MB");
    let doctor = sandbox.run(&["doctor", "--model", "org/tiny"]).stdout;
    insta::assert_snapshot!(line_of(&doctor, "ok       model"), @"ok       model      org/tiny: qwen3, 2.6 million parameters, 6 MB of weights in 1 file(s), tokenizer of 4096 entries");

    // What is there does not come again.
    let before = hub.asked().len();
    pull(&sandbox, &hub).exits(0);
    assert_eq!(hub.asked().len(), before);
}

#[cfg(feature = "mlx")]
#[test]
fn a_model_that_will_not_run_here_is_not_pulled_unless_it_is_wanted_anyway() {
    let mut repository = tiny();
    repository.files.insert("config.json".into(), br#"{"model_type": "gpt_neox"}"#.to_vec());
    let (sandbox, hub) = (Sandbox::new(), Hub::start(repository));
    let refusal = pull(&sandbox, &hub).exits(2).stderr;
    assert!(
        refusal.starts_with("error: org/tiny does not run here: config.json: model_type \"gpt_neox\" is not supported; "),
        "{refusal}"
    );
    assert!(refusal.ends_with("; --anyway pulls it all the same\n"), "{refusal}");
    assert_eq!(hub.asked(), Vec::<String>::new());

    run(sandbox.anyclaude(&["model", "pull", "org/tiny", "--anyway"]).env("HF_ENDPOINT", &hub.url)).exits(0);
    assert_eq!(pulled_weights(&sandbox), weights());
}

#[cfg(feature = "mlx")]
#[test]
fn a_model_is_checked_by_its_template_and_a_forced_call() {
    let checked = Sandbox::new().run(&["model", "check", crate::support::MODEL]).exits(0).stdout;
    insta::assert_snapshot!(uncounted(&checked), @r#"
    ok       model          tiny: qwen3, 2.6 million parameters
    ok       memory         takes about N MB of memory, and N kB for each token: its context of N tokens fits here
    ok       tool format    hermes
    ok       earlier calls  in the prompt, with their results
    ok       conversations  as most are
    ok       thinking       the template has no switch for it
    ok       ends at        <|im_end|> <|endoftext|>
    ok       forced call    {"name":"Read","input":{"file_path":"hello.txt"}} in [time]
    "#);
}

#[cfg(feature = "mlx")]
#[test]
fn a_template_that_loses_calls_fails_the_check() {
    let sandbox = Sandbox::new();
    let template = "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n";
    write_with_own_template(&sandbox.path("model"), template);
    let ran = sandbox.run(&["model", "check", "model"]).exits(1);
    insta::assert_snapshot!(line_of(&ran.stdout, "BROKEN"), @"BROKEN   earlier calls  not in the prompt: the model forgets what it did");
}

#[cfg(feature = "mlx")]
#[test]
fn a_template_that_refuses_tools_fails_the_check() {
    let sandbox = Sandbox::new();
    let template = "{% if tools %}{{ raise_exception('no tools') }}{% endif %}{{ messages }}";
    write_with_own_template(&sandbox.path("model"), template);
    let ran = sandbox.run(&["model", "check", "model"]).exits(1);
    let broken: Vec<&str> = ran.stdout.lines().filter(|line| line.starts_with("BROKEN")).collect();
    insta::assert_snapshot!(broken.join("\n"), @"
    BROKEN   template       invalid operation: no tools (in chat template:1): the chat template takes no conversation with tools
    BROKEN   forced call    invalid_request_error: invalid operation: no tools (in chat template:1)
    ");
}

#[test]
fn a_file_that_is_longer_than_listed_is_not_read_to_its_end() {
    let (sandbox, hub) = (Sandbox::new(), Hub::start(Repository { endless: true, ..tiny() }));
    // Past this limit, in blocks of 512 bytes, the system takes no more of a file.
    let script = format!("ulimit -f {}; exec \"$@\"", 2 * weights().len() / 512);
    let mut command = sandbox.program("sh");
    command.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_anyclaude"), "model", "pull", "org/tiny"]);
    let ran = run(command.env("HF_ENDPOINT", &hub.url)).exits(3);
    insta::assert_snapshot!(ran.stderr.lines().last().unwrap(), @"error: org/tiny: model.safetensors came damaged and was thrown away; pull again");
}

#[test]
fn a_files_name_may_have_signs_that_mean_something_in_addresses() {
    let names = ["a?b.json", "a#b.json", "a%2Fb.json", "a b.json", "a+b&c=d.json", "größe.json"];
    let mut repository = tiny();
    repository.files.extend(names.map(|name| (name.to_owned(), name.as_bytes().to_vec())));
    let (sandbox, hub) = (Sandbox::new(), Hub::start(repository));
    pull(&sandbox, &hub).exits(0);
    for name in names {
        assert_eq!(fs::read_to_string(folder(&sandbox).join("snapshots").join(COMMIT).join(name)).unwrap(), name);
    }
}

#[cfg(feature = "mlx")]
#[test]
fn the_launcher_runs_a_pulled_model_under_its_name() {
    let (sandbox, hub) = (Sandbox::new(), Hub::start(tiny()));
    pull(&sandbox, &hub).exits(0);
    let ran = sandbox.run(&["--model", "org/tiny", "--client", "sh", "--", "-c", "true"]);
    insta::assert_snapshot!(sandbox.portable(line_of(&ran.stderr, "ready in ")), @"ready in [time]: mlx org/tiny answers sh at http://127.0.0.1:[port]");
}

#[test]
fn a_model_that_was_not_pulled_is_one_line_with_the_way_out() {
    let sandbox = Sandbox::new();
    let none = sandbox.run(&["model", "ls"]);
    insta::assert_snapshot!(none.refusal(), @"exit 0: no models; get one with: anyclaude model pull ORGANISATION/NAME");
}

#[cfg(feature = "mlx")]
#[test]
fn a_replay_on_a_model_that_was_not_pulled_is_one_line_with_the_way_out() {
    let ran = Sandbox::new().run(&["replay", "--model", "org/absent", crate::support::TRACES]);
    insta::assert_snapshot!(ran.refusal(), @"exit 2: error: org/absent: no such folder, and no model of this name was pulled; get it with: anyclaude model pull org/absent; --model names the model's folder");
}

#[test]
fn a_broken_connection_goes_on_where_it_broke() {
    let half = weights().len() / 2 + 1;
    let (sandbox, hub) = (Sandbox::new(), Hub::start(Repository { break_after: Some(half), ..tiny() }));
    pull(&sandbox, &hub).exits(0);
    assert_eq!(pulled_weights(&sandbox), weights());
    assert_eq!(hub.asked(), ["model.safetensors 0".to_owned(), format!("model.safetensors {half}")]);
}

#[test]
fn a_server_without_ranges_begins_anew() {
    let half = weights().len() / 2;
    let (sandbox, hub) = (Sandbox::new(), Hub::start(Repository { stall_after: Some(half), ..tiny() }));
    interrupt(&sandbox, &hub, half);
    hub.change(|repository| (repository.stall_after, repository.without_ranges) = (None, true));
    pull(&sandbox, &hub).exits(0);
    assert_eq!(pulled_weights(&sandbox), weights());
}

#[test]
fn an_interrupted_pull_goes_on_where_it_ended() {
    let half = weights().len() / 2;
    let (sandbox, hub) = (Sandbox::new(), Hub::start(Repository { stall_after: Some(half), ..tiny() }));
    interrupt(&sandbox, &hub, half);
    // The model has no name before it is whole.
    assert!(sandbox.run(&["model", "ls"]).stdout.is_empty());
    hub.change(|repository| repository.stall_after = None);
    pull(&sandbox, &hub).exits(0);
    assert_eq!(hub.asked().last().unwrap(), &format!("model.safetensors {half}"));
    assert!(sandbox.run(&["model", "ls"]).stdout.starts_with("org/tiny "));
}

#[test]
fn what_cannot_be_had_is_one_line_with_the_way_out() {
    let sandbox = Sandbox::new();
    let refused = |status| refusal(&sandbox, Repository { refuse: Some(status), ..tiny() });
    let mut unfit = tiny();
    unfit.files.retain(|path, _| !path.ends_with(".safetensors"));
    let incomplete = Repository { lost: Some("config.json"), ..tiny() };
    // What came whole beside it would not come again.
    let damaged = |file| refusal(&Sandbox::new(), Repository { damaged: Some(file), ..tiny() });
    let damaged = ["tokenizer_config.json", "model.safetensors"].map(damaged).concat();
    let refusals: String = [404, 401, 403, 503].map(refused).concat();
    let all = [refusals, refusal(&sandbox, unfit), refusal(&sandbox, incomplete), damaged].concat();
    insta::assert_snapshot!(all, @"
    exit 2: error: HUB has no model org/tiny; check its name
    exit 2: error: HUB does not give org/tiny to everybody, or has no such model; check its name, or export HF_TOKEN=… of one who may
    exit 2: error: org/tiny must be asked for: accept its terms at HUB/org/tiny and export HF_TOKEN=…
    exit 3: error: HUB answered 503; what has come is kept, so try again later
    exit 2: error: org/tiny has no *.safetensors; choose a model in safetensors or MLX format
    exit 3: error: HUB lists config.json of org/tiny and does not have it; pull again later, or from another mirror (HF_ENDPOINT)
    exit 3: error: org/tiny: tokenizer_config.json came damaged and was thrown away; pull again
    exit 3: error: org/tiny: model.safetensors came damaged and was thrown away; pull again
    ");
    assert!(sandbox.run(&["model", "ls"]).stdout.is_empty());
}

#[test]
fn the_token_and_the_folder_are_those_of_the_hubs_tools() {
    let (sandbox, hub) = (Sandbox::new(), Hub::start(Repository { token: Some("hf_mine"), ..tiny() }));
    pull(&sandbox, &hub).exits(2);
    let elsewhere = sandbox.home("models");
    let home = ("HF_HOME", elsewhere.to_str().unwrap());
    pull_with(&sandbox, &hub, &[home, ("HF_TOKEN", "hf_mine")]).exits(0);
    assert!(elsewhere.join("hub/models--org--tiny/refs/main").is_file());
    // What `hf auth login` leaves.
    sandbox.write_home("models/token", "hf_mine\n");
    pull_with(&sandbox, &hub, &[home]).exits(0);
    pull_with(&sandbox, &hub, &[home, ("HF_TOKEN", "hf_other")]).exits(2);
}
