//! `anyclaude model`: pulling from a server that speaks the hub's API, and what a pulled model's name is good for.

#[path = "support/hub.rs"]
mod hub;
#[path = "support/launched.rs"]
mod launched;

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use hub::{COMMIT, Hub, Repository};
use launched::{Place, stderr, stdout};

/// The embedded model as a repository, with files that nobody needs.
fn tiny() -> Repository {
    let mut repository = Repository::default();
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models/tiny")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            repository.files.insert(path.file_name().unwrap().to_str().unwrap().into(), fs::read(&path).unwrap());
        }
    }
    for unneeded in ["README.md", "model.gguf", "onnx/config.json"] {
        repository.files.insert(unneeded.into(), b"unneeded".to_vec());
    }
    repository
}

fn command(place: &Place, hub: &Hub, arguments: &[&str]) -> Command {
    let mut command = place.anyclaude(arguments);
    command.env("HF_ENDPOINT", &hub.url);
    command
}

async fn pull(place: &Place, hub: &Hub) -> Output {
    let mut command = command(place, hub, &["model", "pull", "org/tiny"]);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// The one line that an error is, and the exit code.
async fn refusal(place: &Place, hub: &Hub) -> String {
    let output = pull(place, hub).await;
    let said = stderr(&output);
    let error = said.lines().last().unwrap().replace(&hub.url, "HUB");
    format!("exit {}: {error}", output.status.code().unwrap())
}

/// The cache's folder of the model.
fn folder(place: &Place) -> std::path::PathBuf {
    place.home.path().join(".cache/huggingface/hub/models--org--tiny")
}

fn weights(repository: &Repository) -> Vec<u8> {
    repository.files["model.safetensors"].clone()
}

#[tokio::test]
async fn a_pulled_model_is_found_by_its_name_and_by_other_tools() {
    let (place, hub) = (Place::new(), Hub::start(tiny()).await);
    let output = pull(&place, &hub).await;
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(said.starts_with("pulling org/tiny\npulled ") && said.ends_with("anyclaude --model org/tiny\n"), "{said}");

    // The layout that other tools know.
    let snapshot = folder(&place).join("snapshots").join(COMMIT);
    assert_eq!(stdout(&output), format!("{}\n", snapshot.display()));
    assert_eq!(fs::read_to_string(folder(&place).join("refs/main")).unwrap(), COMMIT);
    let link = fs::read_link(snapshot.join("model.safetensors")).unwrap();
    assert!(link.starts_with("../../blobs") && link.file_name().unwrap().len() == 64, "{link:?}");
    assert_eq!(fs::read(snapshot.join("model.safetensors")).unwrap(), weights(&tiny()));
    assert!(!snapshot.join("README.md").exists() && !snapshot.join("onnx").exists());

    let listed = stdout(&place.run(&["model", "ls"]));
    assert!(listed.starts_with("org/tiny ") && listed.contains("qwen3") && listed.lines().count() == 1, "{listed}");
    let doctor = stdout(&place.run(&["doctor", "--model", "org/tiny"]));
    assert!(doctor.contains("org/tiny: qwen3, "), "{doctor}");

    // What is there does not come again.
    let before = hub.asked().len();
    assert!(pull(&place, &hub).await.status.success());
    assert_eq!(hub.asked().len(), before);
}

#[cfg(feature = "mlx")]
#[tokio::test]
async fn the_launcher_runs_a_pulled_model_under_its_name() {
    let (place, hub) = (Place::new(), Hub::start(tiny()).await);
    assert!(pull(&place, &hub).await.status.success());
    let output = place.run(&["--model", "org/tiny", "--client", "sh", "--", "-c", "true"]);
    assert!(stderr(&output).contains("mlx org/tiny answers sh at "), "{}", stderr(&output));
}

#[tokio::test]
async fn a_model_that_was_not_pulled_is_one_line_with_the_way_out() {
    let place = Place::new();
    let output = place.run(&["replay", "--model", "org/absent", concat!(env!("CARGO_MANIFEST_DIR"), "/traces")]);
    let said =
        "error: org/absent: no such folder, and no model of this name was pulled; get it with: anyclaude model pull org/absent";
    assert!(stderr(&output).contains(said), "{}", stderr(&output));
    let none = place.run(&["model", "ls"]);
    assert_eq!(stderr(&none), "no models; get one with: anyclaude model pull ORGANISATION/NAME\n");
}

#[tokio::test]
async fn a_broken_connection_goes_on_where_it_broke() {
    let half = weights(&tiny()).len() / 2 + 1;
    let (place, hub) = (Place::new(), Hub::start(Repository { break_after: Some(half), ..tiny() }).await);
    let output = pull(&place, &hub).await;
    assert!(output.status.success(), "{}", stderr(&output));
    let snapshot = folder(&place).join("snapshots").join(COMMIT);
    assert_eq!(fs::read(snapshot.join("model.safetensors")).unwrap(), weights(&tiny()));
    assert_eq!(hub.asked(), ["model.safetensors 0".to_owned(), format!("model.safetensors {half}")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_ranges_begins_anew() {
    let half = weights(&tiny()).len() / 2;
    let (place, hub) = (Place::new(), Hub::start(Repository { stall_after: Some(half), ..tiny() }).await);
    interrupt(&place, &hub, half).await;
    hub.change(|repository| (repository.stall_after, repository.without_ranges) = (None, true));
    assert!(pull(&place, &hub).await.status.success());
    let snapshot = folder(&place).join("snapshots").join(COMMIT);
    assert_eq!(fs::read(snapshot.join("model.safetensors")).unwrap(), weights(&tiny()));
}

/// Stops a pull with Ctrl-C once so many bytes of the weights are on the disk.
async fn interrupt(place: &Place, hub: &Hub, bytes: usize) {
    let mut command = command(place, hub, &["model", "pull", "org/tiny"]);
    let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let blobs = folder(place).join("blobs");
    while incomplete(&blobs) < bytes as u64 {
        assert!(process.try_wait().unwrap().is_none(), "the pull ended");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(Command::new("kill").args(["-s", "INT", &process.id().to_string()]).status().unwrap().success());
    let code = tokio::task::block_in_place(|| process.wait()).unwrap().code();
    let mut said = String::new();
    process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(code, Some(130), "{said}");
    assert!(
        said.lines().last().unwrap().starts_with("stopped at ") && said.ends_with("; pull again to go on from there\n"),
        "{said}"
    );
}

/// The size of the file that is growing.
fn incomplete(blobs: &Path) -> u64 {
    let files = fs::read_dir(blobs).into_iter().flatten().map(|entry| entry.unwrap());
    let growing = files.filter(|file| file.file_name().to_string_lossy().ends_with(".incomplete"));
    growing.map(|file| file.metadata().map_or(0, |meta| meta.len())).max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_pull_goes_on_where_it_ended() {
    let half = weights(&tiny()).len() / 2;
    let (place, hub) = (Place::new(), Hub::start(Repository { stall_after: Some(half), ..tiny() }).await);
    interrupt(&place, &hub, half).await;
    // The model has no name before it is whole.
    assert!(stdout(&place.run(&["model", "ls"])).is_empty());
    hub.change(|repository| repository.stall_after = None);
    assert!(pull(&place, &hub).await.status.success());
    assert_eq!(hub.asked().last().unwrap(), &format!("model.safetensors {half}"));
    assert!(stdout(&place.run(&["model", "ls"])).starts_with("org/tiny "));
}

#[tokio::test]
async fn what_cannot_be_had_is_one_line_with_the_way_out() {
    let place = Place::new();
    for (refuse, expected) in [
        (404, "exit 2: error: HUB has no model org/tiny; check its name"),
        (
            401,
            "exit 2: error: HUB does not give org/tiny to everybody, or has no such model; check its name, or export HF_TOKEN=… of \
             one who may",
        ),
        (403, "exit 2: error: org/tiny must be asked for: accept its terms at HUB/org/tiny and export HF_TOKEN=…"),
        (503, "exit 3: error: HUB answered 503; what has come is kept, so try again later"),
    ] {
        let hub = Hub::start(Repository { refuse: Some(refuse), ..tiny() }).await;
        assert_eq!(refusal(&place, &hub).await, expected);
    }
    let mut unfit = tiny();
    unfit.files.retain(|path, _| !path.ends_with(".safetensors"));
    assert_eq!(
        refusal(&place, &Hub::start(unfit).await).await,
        "exit 2: error: org/tiny has no *.safetensors; choose a model in safetensors or MLX format"
    );
    let hub = Hub::start(Repository { damage: true, ..tiny() }).await;
    assert_eq!(
        refusal(&place, &hub).await,
        "exit 3: error: org/tiny: model.safetensors came damaged and was thrown away; pull again"
    );
    assert!(stdout(&place.run(&["model", "ls"])).is_empty());
}

#[tokio::test]
async fn the_token_and_the_folder_are_those_of_the_hubs_tools() {
    let (place, hub) = (Place::new(), Hub::start(Repository { token: Some("hf_mine"), ..tiny() }).await);
    assert!(refusal(&place, &hub).await.starts_with("exit 2: error: HUB does not give org/tiny to everybody"));
    let elsewhere = place.home.path().join("models");
    let pull = |variables: Vec<(&'static str, String)>| {
        let mut command = command(&place, &hub, &["model", "pull", "org/tiny"]);
        command.envs(variables).env("HF_HOME", &elsewhere);
        tokio::task::spawn_blocking(move || command.output().unwrap().status.success())
    };
    assert!(pull(vec![("HF_TOKEN", "hf_mine".into())]).await.unwrap());
    assert!(elsewhere.join("hub/models--org--tiny/refs/main").is_file());
    // What `hf auth login` leaves.
    fs::write(elsewhere.join("token"), "hf_mine\n").unwrap();
    assert!(pull(vec![]).await.unwrap());
    assert!(!pull(vec![("HF_TOKEN", "hf_other".into())]).await.unwrap());
}
