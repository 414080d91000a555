//! Every driver reports settings that cannot be used with the same message. The tests of
//! `crdb-connection` check the messages.

use crdb_conformance::sample::assert_url_refused;

#[test]
fn settings_that_cannot_be_used_end_a_sample_with_their_message() {
    let directory = tempfile::tempdir().unwrap();
    assert_url_refused(
        directory.path(),
        "postgresql://demo:<password>@localhost/",
        "password is still the placeholder <password>\n\
         Put your own value there, in .env or in the environment.",
    );
}
