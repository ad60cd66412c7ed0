//! Templates that mean harm: whatever they loop, build and nest, they end with an error.

use super::*;

#[test]
fn what_would_never_end_or_fill_the_memory_is_an_error() {
    let tokenizer = Tokenizer::load(&tiny_model()).unwrap();
    for endless in [
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% set ns = namespace(a='x') %}{% for i in range(60) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}{{ ns.a }}",
        "{{ 'x' * 1000000000000 }}",
        "DOUBLED{{ ns.a }}",
        "DOUBLED{{ ns.a | string }}",
        "DOUBLED{{ ns.a | tojson }}",
        "DOUBLED{{ ns.a | tojson(sort_keys=true) }}",
        "DOUBLED{{ {'a': 1} | tojson(separators=(ns.a, ns.a)) }}",
        "DOUBLED{{ ns.a | join(',') }}",
        "DOUBLED{{ ','.join(ns.a) }}",
        "DOUBLED{{ [].index(ns.a) }}",
        "DOUBLED{{ raise_exception(ns.a) }}",
        "DOUBLED{{ strftime_now(ns.a) }}",
        "{% set ns = namespace(a={}) %}{% for i in range(60) %}{% set ns.a = {'x': ns.a, 'y': ns.a} %}{% endfor %}{{ ns.a }}",
        "{% set ns = namespace(a=[]) %}{% for i in range(1000) %}{% set ns.a = [ns.a] %}{% endfor %}{{ ns.a | tojson }}",
        "{{ [1] | tojson(indent=100000000000) }}",
        "{{ range(100000) | join('x' * 1000000) }}",
        "{{ ('x' * 1000000).join(range(100000)) }}",
        "{{ ([''] * 100000000) | join }}",
        "{{ ('a,' * 2000000).rsplit(',') }}",
        "{{ 'abc'.rsplit('') }}",
        "{{ strftime_now('%c' * 2000000) }}",
    ] {
        let doubled = "{% set ns = namespace(a=['x']) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}";
        let endless = endless.replace("DOUBLED", doubled);
        // Only where a message says so: templates are tried out when they are loaded.
        let source = format!("{{% if messages[0].content == 'harm' %}}{endless}{{% endif %}}{{{{ messages[0].content }}}}");
        let mut template = ChatTemplate::from_source(source, &tokenizer).unwrap();
        let render = |template: &ChatTemplate, text: &str| {
            let body = serde_json::json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": text}]});
            template.render(&serde_json::from_value(body).unwrap())
        };
        assert_eq!(render(&template, &"long ".repeat(1_000_000)).unwrap().len(), 5_000_000);
        // So that each takes a moment only.
        template.environment.set_fuel(Some(FUEL / 20));
        assert!(render(&template, "harm").is_err(), "{endless}");
    }
}

#[test]
fn a_list_in_itself_as_often_as_the_fuel_allows_ends_no_process() {
    let nested = |brackets: usize, times: usize, shown: &str| {
        let list = format!("{}ns.a{}", "[".repeat(brackets), "]".repeat(brackets));
        let source = format!(
            "{{% if messages[0].content == 'harm' %}}{{% set ns = namespace(a=[]) %}}{{% for i in range(1000) %}}\
             {{% for i in range({times}) %}}{{% set ns.a = {list} %}}{{% endfor %}}{{% endfor %}}{shown}{{% endif %}}"
        );
        template(&source).render(&request(json!({"messages": [{"role": "user", "content": "harm"}]})))
    };
    assert_eq!(nested(1, 1, "{{ ns.a }}").unwrap(), format!("{}...{}", "[".repeat(100), "]".repeat(100)));
    // A list in itself costs a fuel and a half; to go through the loop, some more.
    let most = FUEL as usize / 2 / 50_000;
    assert_eq!(nested(50, most, "{{ [ns.a] == [[ns.a]] }}whole").unwrap(), "Falsewhole");
    for shown in ["{{ '' ~ ns.a }}", "{{ ns.a | tojson }}"] {
        nested(50, most, shown).ok();
    }
    let error = nested(50, 10 * most, "").unwrap_err().to_string();
    assert!(
        error.starts_with("prompt is too long: the chat template does not come to its end: engine ran out of fuel"),
        "{error}"
    );
}
