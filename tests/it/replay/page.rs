//! The page of a replay in a browser.

use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{healthy, replay};
use crate::support::browser::seen;
use crate::support::demo::{session, write_trace};

/// A replay with a changed trace, a baseline, and a name that HTML would take for its own.
#[test]
fn the_page_works_with_a_keyboard_in_light_and_dark_and_loads_nothing() {
    let server = healthy();
    let sandbox = session();
    replay(&sandbox, &server, &["--update"]).exits(0);
    replay(&sandbox, &server, &["--json", "old.json"]).exits(0);
    let content = json!("Please read </script><b>other</b>.txt");
    write_trace(&sandbox, 1, &[("/request/body/messages/0/content", content)]);
    replay(&sandbox, &server, &["--baseline", "old.json", "--html", "report.html"]).exits(1);
    let Some(seen) = seen("report.cjs", &[sandbox.path("report.html")]) else { return };
    let page = format!("file://{}", sandbox.path("report.html").display());
    assert_eq!((&seen["console"], &seen["requests"]), (&json!([]), &json!([page])));
    let made = seen["made"].as_str().unwrap();
    assert!(OffsetDateTime::parse(made, &Rfc3339).is_ok(), "{made}");
    // TTFT and E2E, of three phases, now and in the baseline.
    assert_eq!(seen["charts"], 12);
    let stops = ["To the exchanges", "system", "demo/001", "Figures", "verdict", "search", "unfold", "fold", "exchange"];
    assert_eq!(seen["stops"], json!(stops));
    assert_eq!((&seen["toggled"], &seen["lanes"], &seen["linked"]), (&json!(true), &json!(3), &json!(true)));
    assert_eq!((&seen["all"], &seen["changed"], &seen["found"], &seen["none"]), (&json!(2), &json!(1), &json!(1), &json!(0)));
    assert_eq!(seen["shown"], "1 of 2 exchanges");
    assert!(seen["diff"].to_string().contains("</script><b>other</b>.txt"), "{}", seen["diff"]);
    let backgrounds = json!(["rgb(255, 255, 255)", "rgb(20, 23, 27)", "rgb(20, 23, 27)"]);
    assert_eq!(seen["backgrounds"], backgrounds);
    assert_eq!((&seen["faults"], &seen["fits"]), (&json!([]), &json!(true)));
}
