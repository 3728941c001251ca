//! Ending pgpool over PCP.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::error::KeeperError;
use crate::pcp::PcpError;
use crate::pcp::client::PcpClient;
use crate::pcp::message::ShutdownMode;
use crate::seams::{Ask, Pool};

/// Measured: 0.04 to 0.16 s. A pgpool that takes longer than this hangs.
const GONE_DEADLINE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Ends pgpool, fast, and waits until nobody listens where PCP was.
pub async fn end_over_pcp(pcp: &PcpClient) -> Result<(), KeeperError> {
    match pcp.shutdown(ShutdownMode::Fast).await {
        Ok(()) => {}
        Err(PcpError::Connect { .. }) => return Ok(()), // gone already
        Err(error) => return Err(KeeperError::Pcp(error)),
    }
    let started = Instant::now();
    while started.elapsed() < GONE_DEADLINE {
        if let Err(PcpError::Connect { .. }) = pcp.look(Ask::default()).await {
            return Ok(());
        }
        sleep(LOOK_EVERY).await;
    }
    Err(KeeperError::StillThere { after: GONE_DEADLINE })
}
