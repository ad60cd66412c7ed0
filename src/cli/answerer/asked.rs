//! What `--backend` and `--model` say: what answers, under which name, and for which model it is asked.

use std::collections::HashSet;
use std::path::Path;
use std::str::FromStr;

use reqwest::Url;

use super::BackendArgs;
use crate::cli::CliError;
use crate::config::{Mode, Settings};
use crate::trace::redact::Redactor;

/// One `--backend`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BackendArg {
    /// What to call it beside others: the given name, else one made from the target.
    pub name: String,
    /// What answers, as the user wrote it.
    pub text: String,
    pub target: Target,
}

/// What answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The engine in this process.
    InProcess,
    /// A server that speaks the Messages API.
    Messages { base_url: String },
    /// What a mode of the launcher answers with; its server may be elsewhere.
    Mode { mode: Mode, base_url: Option<String> },
}

/// A backend, and the model to ask it for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Asked {
    /// Its text has no secrets: reports have it.
    pub backend: BackendArg,
    /// `None` for what the backend or the trace has.
    pub model: Option<String>,
}

impl FromStr for BackendArg {
    type Err = String;

    fn from_str(argument: &str) -> Result<Self, String> {
        let (name, text) = argument.split_once('=').filter(|(name, _)| is_name(name)).unzip();
        let text = text.unwrap_or(argument);
        let target = Target::parse(text)?;
        Ok(Self { name: name.map_or_else(|| target.name(), str::to_owned), text: text.to_owned(), target })
    }
}

/// Whether this can be the name before a `=`. An address cannot.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

impl Target {
    fn parse(text: &str) -> Result<Self, String> {
        let is_url = |text: &str| Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if text == Mode::Mlx.name() {
            return Ok(Self::InProcess);
        }
        if is_url(text) {
            return Ok(Self::Messages { base_url: text.to_owned() });
        }
        let (name, base_url) = text.split_once(':').map_or((text, None), |(name, url)| (name, Some(url)));
        match Mode::ALL.into_iter().find(|mode| mode.name() == name) {
            Some(mode) if mode != Mode::Mlx && base_url.is_none_or(is_url) => {
                Ok(Self::Mode { mode, base_url: base_url.map(str::to_owned) })
            }
            _ => {
                let modes = Mode::ALL.map(Mode::name).join(", ");
                Err(format!(
                    "what answers is one of {modes}, alone or with `:` and a URL, or a URL that starts with http:// or https://"
                ))
            }
        }
    }

    /// The mode's name, or the server's address without its path.
    fn name(&self) -> String {
        let of_server = |base_url: &str| {
            let url = Url::parse(base_url).ok();
            let parts = url.as_ref().and_then(|url| Some((url.host_str()?, url.port())));
            parts.map_or_else(
                || base_url.to_owned(),
                |(host, port)| port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")),
            )
        };
        match self {
            Self::InProcess => Mode::Mlx.name().to_owned(),
            Self::Messages { base_url } | Self::Mode { base_url: Some(base_url), .. } => of_server(base_url),
            Self::Mode { mode, base_url: None } => mode.name().to_owned(),
        }
    }
}

impl Asked {
    /// Every backend of the arguments with its model: that which `--model NAME=MODEL` says of it, else `--model MODEL`, else what
    /// the settings have for its mode.
    pub(in crate::cli) fn of(args: &BackendArgs, configured: &Settings) -> Result<Vec<Self>, CliError> {
        let parsed = args.backends.iter().map(|text| {
            let backend: Result<BackendArg, String> = text.parse();
            backend.map_err(|wanted| CliError::input(format!("--backend {text}: {wanted}")))
        });
        let mut backends = parsed.collect::<Result<Vec<_>, _>>()?;
        let redactor = Redactor::new(&configured.redact.patterns);
        backends.iter_mut().for_each(|backend| backend.text = redactor.text(&backend.text).into_owned());
        let mut names = HashSet::new();
        if let Some(twice) = backends.iter().find(|backend| !names.insert(backend.name.as_str())) {
            let name = &twice.name;
            let hint = format!("--backend: two are named {name}; give each a name of its own: --backend NAME={}", twice.text);
            return Err(CliError::input(hint));
        }
        let of_one =
            |model: &str| model.split_once('=').filter(|(name, _)| names.contains(name)).map(|(name, _)| name.to_owned());
        let (own, for_all): (Vec<_>, Vec<_>) = args.models.iter().partition(|model| of_one(model).is_some());
        if for_all.len() > 1 {
            let hint = "--model: several; with one --backend give one, with several say which is whose: --model NAME=MODEL";
            return Err(CliError::input(hint));
        }
        if let [model] = for_all[..]
            && let Some((name, _)) = model.split_once('=').filter(|_| backends.len() > 1 && !Path::new(model).exists())
        {
            let names = backends.iter().map(|backend| backend.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(CliError::input(format!("--model {model}: no backend is named {name}; there are {names}")));
        }
        let asked = backends.iter().map(|backend| {
            let prefix = format!("{}=", backend.name);
            let own = own.iter().find_map(|model| model.strip_prefix(prefix.as_str()));
            let given = own.or_else(|| for_all.first().map(|model| model.as_str())).map(str::to_owned);
            let configured = || match &backend.target {
                Target::Mode { mode, .. } => configured.of_mode(*mode).model,
                Target::InProcess | Target::Messages { .. } => None,
            };
            Self { backend: backend.clone(), model: given.or_else(configured) }
        });
        Ok(asked.collect())
    }

    /// The one backend of a command that takes no more.
    pub(in crate::cli) fn one(args: &BackendArgs, configured: &Settings) -> Result<Self, CliError> {
        let [one] = <[Self; 1]>::try_from(Self::of(args, configured)?)
            .map_err(|_| CliError::input("--backend: several; this command takes one"))?;
        Ok(one)
    }

    /// Whether the engine in this process answers.
    pub(in crate::cli) fn is_in_process(&self) -> bool {
        self.backend.target == Target::InProcess
    }

    /// The model's name that requests carry in place of the recorded one.
    pub(in crate::cli) fn model_to_send(&self) -> Option<&str> {
        self.model.as_deref().filter(|_| !self.is_in_process())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        answerer: BackendArgs,
    }

    fn asked(arguments: &[&str]) -> Result<Vec<(String, Option<String>)>, String> {
        let cli = Cli::try_parse_from([&["anyclaude"], arguments].concat()).unwrap();
        let asked = Asked::of(&cli.answerer, &Settings::default()).map_err(|error| error.to_string())?;
        Ok(asked.into_iter().map(|asked| (asked.backend.name, asked.model)).collect())
    }

    #[test]
    fn a_backend_is_the_engine_a_url_or_a_mode() {
        let url = "http://127.0.0.1:8000/v1";
        let openai = |name: &str| (name.to_owned(), Target::Mode { mode: Mode::Openai, base_url: Some(url.into()) });
        for (text, expected) in [
            ("mlx", ("mlx".into(), Target::InProcess)),
            (url, ("127.0.0.1:8000".into(), Target::Messages { base_url: url.into() })),
            (
                "https://here.example/a=b",
                ("here.example".into(), Target::Messages { base_url: "https://here.example/a=b".into() }),
            ),
            ("lmstudio", ("lmstudio".into(), Target::Mode { mode: Mode::Lmstudio, base_url: None })),
            (&format!("openai:{url}"), openai("127.0.0.1:8000")),
            (&format!("mlx-lm=openai:{url}"), openai("mlx-lm")),
            ("engine=mlx", ("engine".into(), Target::InProcess)),
        ] {
            let BackendArg { name, target, .. } = text.parse().unwrap();
            assert_eq!((name, target), expected, "{text}");
        }
        for text in ["", "mlx:http://127.0.0.1", "openai:", "openai:8000", "ollama", "ftp://elsewhere", "Openai", "a=", "=mlx"] {
            assert!(text.parse::<BackendArg>().is_err(), "{text}");
        }
    }

    #[test]
    fn each_backend_may_have_a_model_of_its_own() {
        let two = ["--backend", "mlx", "--backend", "b=http://h"];
        let models = |more: &[&str]| asked(&[&two, more].concat());
        let of = |mlx: Option<&str>, b: Option<&str>| {
            Ok(vec![("mlx".to_owned(), mlx.map(str::to_owned)), ("b".to_owned(), b.map(str::to_owned))])
        };
        assert_eq!(models(&[]), of(None, None));
        assert_eq!(models(&["--model", "m"]), of(Some("m"), Some("m")));
        assert_eq!(models(&["--model", "m", "--model", "b=n"]), of(Some("m"), Some("n")));
        assert_eq!(models(&["--model", "b=n"]), of(None, Some("n")));
        assert_eq!(asked(&["--model", "c=n"]), Ok(vec![("mlx".to_owned(), Some("c=n".to_owned()))]));
        assert_eq!(models(&["--model", "c=n"]).unwrap_err(), "--model c=n: no backend is named c; there are mlx, b");
        assert!(models(&["--model", "m", "--model", "n"]).unwrap_err().contains("--model NAME=MODEL"));
    }

    #[test]
    fn what_is_shown_of_an_address_has_no_secrets() {
        let (password, key) = ("hunter2pw", "zk3vq9xtzk3vq9xt");
        let address = format!("openai:http://bob:{password}@127.0.0.1:1903/?api_key={key}");
        let cli = Cli::try_parse_from(["anyclaude", "--backend", &address]).unwrap();
        let backend = Asked::one(&cli.answerer, &Settings::default()).unwrap().backend;
        assert!(!backend.text.contains(password) && !backend.text.contains(key), "{}", backend.text);
        assert!(backend.text.starts_with("openai:http://bob:") && backend.text.contains("@127.0.0.1:1903"), "{}", backend.text);
        let Target::Mode { base_url: Some(base_url), .. } = backend.target else { panic!("{:?}", backend.target) };
        assert!(base_url.contains(password) && base_url.contains(key));
    }

    #[test]
    fn two_backends_of_one_name_are_refused() {
        let refused = asked(&["--backend", "http://h:1", "--backend", "openai:http://h:1/v1"]).unwrap_err();
        assert!(refused.contains("--backend NAME=openai:http://h:1/v1"), "{refused}");
    }
}
