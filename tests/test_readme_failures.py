"""Each failure that docs/failure-behaviour.md lists is caused by a test. The README repeats some of the rows."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

PROOFS = {
    "the bus is down or throttles": [
        "e2e/test_bus_down.py::test_unavailable_bus_is_retried_until_it_recovers",
        "e2e/test_bus_down.py::test_unreachable_bus_is_retried_until_it_recovers",
        "delivery/test_retry.py::test_transient_code_is_retried_without_limit_with_backoff",
        "delivery/test_dispatcher.py::test_delivery_resumes_when_the_bus_exists_again",
    ],
    "the bus is missing, which AWS answers with success": [
        "delivery/test_missing_bus.py::test_events_of_missing_bus_are_requeued_while_idle",
        "delivery/test_missing_bus.py::test_events_of_missing_bus_are_requeued_at_the_end",
        "delivery/test_bus_check.py::test_bus_is_verified_again_after_the_interval",
        "e2e/test_bus_down.py::test_polling_continues_while_the_bus_is_missing",
    ],
    "AWS refuses the check of the bus, the keys, the role, the source or the clock": [
        "reality/test_settling.py::test_error_before_put_events_settles_nothing",
        "reality/test_settling.py::test_refused_check_names_reason_and_setting",
        "e2e/test_bus_down.py::test_bus_outage_pauses_delivery_until_it_is_corrected",
        "delivery/test_dispatcher.py::test_refusal_of_everything_keeps_entries_pending",
        "aws/test_eventbridge.py::test_wrong_clock_is_named_in_the_hint",
    ],
    "a provider of the AWS credential chain fails": [
        "reality/test_credentials.py::test_failing_provider_names_its_cause_and_a_hint",
        "reality/test_credentials_program.py::test_once_keeps_entries_until_the_token_exists",
        "reality/test_credentials_program.py::test_run_logs_the_cause_and_sends_after_the_fix",
    ],
    "PutEvents refuses every entry (its bus name, its source, a 413 from a proxy)": [
        "delivery/test_dispatcher.py::test_refusal_of_every_entry_settles_none_and_pauses",
    ],
    "the bucket for whole payloads refuses an object or is down": [
        "e2e/test_oversize.py::test_refused_payload_trims_the_event_and_is_reported",
        "e2e/test_oversize.py::test_kill_between_object_and_record_loses_nothing",
        "e2e/test_oversize.py::test_recovered_bucket_is_healthy_again",
    ],
    "one entry is refused for good (`MalformedDetail`, or too large alone while others are accepted)": [
        "delivery/test_dispatcher.py::test_lone_refused_entry_is_dead_once_another_is_accepted",
        "delivery/test_dispatcher.py::test_each_entry_is_settled_by_its_own_outcome",
        "delivery/test_dispatcher.py::test_too_large_request_is_split_down_to_the_large_entry",
        "aws/test_put_events_framing.py::test_early_refusal_is_returned_before_body_is_sent",
    ],
    "the bus answers with a code nobody documented": [
        "delivery/test_retry.py::test_undocumented_code_is_given_ten_attempts",
        "delivery/test_dispatcher.py::test_entry_with_undocumented_code_is_dead_lettered",
    ],
    "a connection, a proxy's tunnel or a TLS handshake fails": [
        "aws/test_connection_errors.py::test_request_of_failed_tunnel_is_never_sent",
        "aws/test_connection_errors.py::test_request_of_failed_handshake_is_never_sent",
        "aws/test_connection_errors.py::test_untrusted_certificate_names_its_variable",
        "reality/test_source_network.py::test_untrusted_certificate_names_ssl_cert_file",
    ],
    "a response is lost, over 1 MiB, compressed unasked, or cannot be understood": [
        "reality/test_put_events_bounds.py::test_response_of_any_size_takes_bounded_memory",
        "reality/test_put_events_bounds.py::test_compression_that_was_not_requested_is_unknown",
        "delivery/test_dispatcher.py::test_lost_response_sends_single_entries_until_one_succeeds",
        "aws/test_eventbridge.py::test_invalid_response_is_unknown_for_every_entry",
        "aws/test_put_events_framing.py::test_unsolicited_response_is_ignored",
    ],
    "the content of one entry makes a filter, or AWS, fail": [
        "delivery/test_unsendable_entries.py::test_neighbours_of_an_unsendable_entry_are_sent",
    ],
    "something answers in the place of AWS, or redirects": [
        "aws/test_eventbridge.py::test_refused_request_delivers_nothing",
        "aws/test_redirects.py::test_redirect_is_not_followed",
        "e2e/test_bus_down.py::test_unavailable_bus_is_retried_until_it_recovers",
    ],
    "the logs API is down, slow, or answers 429": [
        "e2e/test_source_refusals.py::test_throttled_feed_delays_all_feeds",
        "e2e/test_broken_pages.py::test_page_that_keeps_failing_keeps_the_watermark",
        "e2e/test_source_refusals.py::test_slow_source_is_read",
        "alloy/test_client_faults.py::test_throttled_client_delays_every_request_by_retry_after",
    ],
    "the logs API reports an error under status 200": [
        "reality/test_source_errors_in_200.py::test_error_under_200_leaves_the_watermark",
    ],
    "forwarding was off, or the API refused it, for nearly `log_retention` (7 days)": [
        "test_retention_watch.py::test_unread_feed_is_degraded_a_day_before",
        "test_retention_watch.py::test_period_and_feeds_are_named_after_the_limit",
        "e2e/test_retention_watch.py::test_long_downtime_is_named_and_survives_a_crash",
        "web/test_status_page.py::test_period_of_purged_executions_is_displayed",
    ],
    "a component fails, recovers, or the switch changes": [
        "e2e/test_health_events.py::test_refused_source_is_reported_on_the_bus",
        "e2e/test_health_events.py::test_switch_is_reported_while_forwarding_is_off",
        "e2e/test_health_events.py::test_refused_health_events_delay_no_failure",
        "delivery/test_health_events.py::test_bus_that_fails_gets_current_state_later",
    ],
    "the logs API refuses the key (401, or 403 with JSON)": [
        "reality/test_source_intermediaries.py::test_json_refusal_of_the_api_is_about_the_key",
        "e2e/test_once.py::test_once_with_a_refused_key_exits_77_and_sends_pending",
        "e2e/test_source_refusals.py::test_requests_with_a_refused_key_are_limited",
        "e2e/test_source_refusals.py::test_source_recovers_when_a_refused_key_is_accepted",
    ],
    "something before the logs API answers (403 or 200 with HTML, a redirect)": [
        "reality/test_source_intermediaries.py::test_403_without_json_is_an_outage",
        "reality/test_source_intermediaries.py::test_response_of_an_intermediary_is_named",
    ],
    "a page is no page, or pages repeat": [
        "e2e/test_source_bodies.py::test_invalid_body_aborts_the_poll_of_its_feed_only",
        "intake/test_reader_faults.py::test_endlessly_repeated_pages_abort_the_poll",
    ],
    "a page is broken inside, or too large": [
        "intake/test_reader_faults.py::test_malformed_record_is_rejected_alone_on_pages_of_any_size",
        "e2e/test_source_bodies.py::test_record_over_the_limit_is_refused_and_others_are_sent",
    ],
    "pages are not listed newest first": [
        "reality/test_listing_order.py::test_wrong_order_is_degraded_and_failures_arrive",
        "reality/test_listing_order.py::test_failures_at_the_end_of_the_log_are_found",
    ],
    "no execution of a feed has a readable time": [
        "reality/test_records.py::test_feed_without_times_from_now_is_failed",
        "reality/test_records.py::test_feed_without_times_from_the_beginning_is_sent",
    ],
    "an execution fails hours after it started": [
        "e2e/test_late_failures.py::test_full_scan_finds_an_old_run_that_was_never_listed",
        "intake/test_reader.py::test_open_execution_is_recorded_however_late_it_fails",
    ],
    "`kill -9`, a crash, a power cut": [
        "faults/test_simulation.py::test_kill_between_any_two_writes_loses_nothing",
        "e2e/test_stopping.py::test_repeated_kills_do_not_prevent_delivery",
    ],
    "a part of the program dies or stalls": [
        "test_supervisor.py::test_failed_loop_is_reported_and_restarted",
        "faults/test_stalled_loops.py::test_stalled_loop_is_named_and_restarted_without_loss",
        "test_watchdog.py::test_blocked_event_loop_ends_the_process_with_stacks",
    ],
    "idle, slow or malformed connections to the listeners": [
        "reality/test_listeners_daemon.py::test_many_connections_do_not_stop_forwarding",
        "reality/test_listeners_requests.py::test_thousands_of_bad_requests_are_one_line_of_the_log",
    ],
    "the ledger is damaged, or gone": [
        "faults/test_files.py::test_ledger_with_damaged_pages_is_refused_with_a_hint",
        "faults/test_files.py::test_deleted_ledger_is_refused_and_sends_nothing_again",
        "ledger/test_recover.py::test_recovery_keeps_pending_entries_without_a_table",
        "ledger/test_recover.py::test_recovery_reports_entries_with_lost_payloads",
    ],
    "the ledger is removed, replaced or truncated while in use": [
        "reality/test_ledger_files.py::test_ledger_damaged_while_running_is_failed",
        "reality/test_ledger_files.py::test_removed_ledger_is_restored_at_the_stop",
    ],
    "the ledger's shared memory (`forwarder.db-shm`) is truncated while in use": [
        "reality/test_ledger_files.py::test_emptied_shared_memory_loses_nothing",
    ],
    "the reader of the log stops (a log driver, a pager)": [
        "reality/test_log_reader.py::test_stopped_log_reader_stops_nothing",
    ],
    "the machine's clock is wrong": [
        "reality/test_clock_ahead.py::test_clock_years_ahead_for_a_pass_loses_no_failure",
        "aws/test_eventbridge.py::test_wrong_clock_is_named_in_the_hint",
    ],
    "the disk is full": [
        "faults/test_system.py::test_full_disk_loses_none_and_sends_none_twice",
        "faults/test_system.py::test_unsaved_response_is_settled_later_and_not_resent",
    ],
    "the settings file is broken by an edit": [
        "faults/test_files.py::test_switch_off_works_in_invalid_settings",
        "e2e/test_reload.py::test_invalid_file_is_reported_and_settings_are_kept",
        "faults/test_files.py::test_invalid_settings_change_nothing",
    ],
    "the master key is lost": ["e2e/test_vault.py::test_missing_master_key_is_refused"],
    "a second process is started on the ledger": [
        "e2e/test_stopping.py::test_second_daemon_exits_75_and_names_the_first"
    ],
    "the table of a shared ledger cannot be reached at a start": [
        "e2e/test_fleet.py::test_start_without_the_table_exits_for_its_service_manager",
    ],
}
"""The rows of the table, keyed by their first cell, with the tests that prove them."""


def table_rows(file: str, heading: str) -> dict[str, str]:
    """Return the rows of the table under a heading: the second cell by the first."""
    table = (ROOT / file).read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    cells = [[cell.strip() for cell in line.split("|")] for line in table.splitlines() if line.startswith("|")]
    return {first: second for _, first, second, *_ in cells[2:]}


def rows() -> list[str]:
    return list(table_rows("docs/failure-behaviour.md", "Failures"))


def test_readme_repeats_rows_of_the_table() -> None:
    readme = table_rows("README.md", "Failure behaviour")
    assert len(readme) == 5
    assert readme.items() <= table_rows("docs/failure-behaviour.md", "Failures").items()


def test_failure_table_has_a_test_for_each_row() -> None:
    assert rows() == list(PROOFS)


@pytest.mark.parametrize("proof", [proof for proofs in PROOFS.values() for proof in proofs])
def test_failure_table_names_existing_tests(proof: str) -> None:
    file, _, name = proof.partition("::")
    tree = ast.parse((ROOT / "tests" / file).read_text())
    names = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
    assert name in names
