//! The operator's commands, given to a running program as an operator gives them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use lamppost_core::sync::frame::{Outcome, Refusal, Standing};

use crate::fixture::*;
use crate::program::{Program, command};
use crate::sockets::Phone;

fn groups(data: &Path, arguments: &[&str]) -> Output {
    command(data).arg("groups").args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

async fn found(url: &str, world: &World) -> Option<Refusal> {
    let (mut phone, _) = Phone::open(url, world, &world.founder).await;
    match &phone.push(1, &world.roll).await.unwrap().outcomes[0] {
        Outcome::Kept => None,
        Outcome::Refused(why) => Some(why.refusal),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_allowed_listed_expired_and_deleted_while_it_runs() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let program = Program::start_with(&data, &["--new-groups", "closed"]);
    let mode = std::fs::metadata(data.join("admin.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "for the operator alone");

    let (first, second) = (World::new(1), World::new(2));
    let id = first.id.to_string();
    assert_eq!(found(&program.url, &first).await, Some(Refusal::CLOSED));
    said(&groups(&data, &["allow", &id]));
    assert!(said(&groups(&data, &["list"])).contains("not founded yet"));
    assert_eq!(found(&program.url, &first).await, None);
    assert_eq!(found(&program.url, &second).await, Some(Refusal::CLOSED));

    said(&groups(&data, &["expire", &id, "--days", "30"]));
    let listed = said(&groups(&data, &["list"]));
    assert!(listed.starts_with(&id) && listed.contains("deleted in 30 days"), "{listed}");
    said(&groups(&data, &["expire", &id, "--never"]));
    assert!(!said(&groups(&data, &["list"])).contains("deleted in"));

    // What was allowed and founded is so after a restart; what was deleted is gone, and stays out.
    program.kill();
    let program = Program::start_with(&data, &["--new-groups", "closed"]);
    let (_, welcome) = Phone::open(&program.url, &first, &first.founder).await;
    assert_eq!(welcome.standing, Standing::Belongs);
    said(&groups(&data, &["delete", &id]));
    assert_eq!(said(&groups(&data, &["list"])), "");
    let (_, welcome) = Phone::open(&program.url, &first, &first.founder).await;
    assert_eq!(welcome.standing, Standing::UnknownGroup);
    assert_eq!(found(&program.url, &first).await, Some(Refusal::CLOSED));
    program.kill();

    let program = Program::start_with(&data, &["--new-groups", "closed"]);
    assert_eq!(found(&program.url, &first).await, Some(Refusal::CLOSED));
    said(&groups(&data, &["allow", &id]));
    assert_eq!(found(&program.url, &first).await, None);
    program.kill();
}

#[test]
fn admin_commands_say_what_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let nobody = groups(directory.path(), &["list"]);
    assert!(!nobody.status.success());
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("no relay answers"), "{nobody:?}");
    let no_id = groups(directory.path(), &["allow", "abc"]);
    assert!(String::from_utf8_lossy(&no_id.stderr).contains("no group id"), "{no_id:?}");
}
