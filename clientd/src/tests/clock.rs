//! The entry gateway's clock beside ours: the status and an alarm say when they differ, and no longer than they do.

use super::gateway::{Gateway, status, until};
use super::world::Running;
use serde_json::Value;
use std::time::Duration;

/// Alarms that are about a clock.
fn alarms(status: &Value) -> Vec<&str> {
    let all = status["alarms"].as_array().unwrap();
    let all = all.iter().map(|alarm| alarm.as_str().unwrap());
    all.filter(|alarm| alarm.contains("clock")).collect()
}

#[tokio::test]
async fn the_status_and_an_alarm_say_that_a_clock_is_wrong() {
    let (mut gateway, config) = Gateway::new(3).await;
    gateway.fall_behind(Duration::from_secs(60));
    gateway.world.give_directory(&config);
    let client = Running::start(config).await.unwrap();
    let unheard = status(&client).await;
    if unheard["connected"] == false {
        assert!(unheard["clock"].is_null() && alarms(&unheard).is_empty());
    }
    let link = gateway.accept().await;
    let wrong = until(&client, |s| !s["clock"].is_null()).await;
    let ahead = wrong["clock"]["ahead_ms"].as_i64().unwrap();
    // Not less than what it was set to by more than half of what the greeting took.
    assert!((55_000..65_000).contains(&ahead), "{wrong}");
    assert_eq!(wrong["clock"]["wrong"], true);
    let says = wrong["clock"]["says"].as_str().unwrap();
    assert!(
        says.contains("s ahead of the entry gateway's: set it right"),
        "{says}"
    );
    // The alarm says the same; how far it is may have moved by a tenth of a second meanwhile.
    assert_eq!(alarms(&wrong).len(), 1, "{wrong}");
    assert!(alarms(&wrong)[0].contains("s ahead of the entry gateway's: set it right"));

    // The next link's word counts alone.
    gateway.fall_behind(Duration::ZERO);
    drop(link);
    let _link = gateway.accept().await;
    let right = until(&client, |s| s["clock"]["wrong"] == false).await;
    assert_eq!(right["clock"]["says"], "right");
    assert!(right["clock"]["ahead_ms"].as_i64().unwrap().abs() < 5000);
    assert!(alarms(&right).is_empty(), "{right}");
    client.stop().await;
}
