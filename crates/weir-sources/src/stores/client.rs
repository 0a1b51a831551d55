//! Clients of stores, by what a connection says and nothing else: what the machine has is asked only where it says so.

use std::str::from_utf8;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hdfs_native_object_store::HdfsObjectStoreBuilder;
use object_store::aws::AmazonS3Builder;
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::client::SpawnedReqwestConnector;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::{BackoffConfig, Certificate, ClientOptions, HeaderMap, HeaderValue, ObjectStore, RetryConfig};
use tokio::runtime::Handle;
use url::{Host, Url};
use weir_model::{Access, StoreAddress, StoreConnection, StoreKind};

use super::user;

/// For a connection to be made.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// For a request to be answered to its end.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(120);
/// A store that fails for longer is out of reach.
const RETRY_TIME_MAX: Duration = Duration::from_secs(20);
const RETRIES_MAX: usize = 4;

/// The error is for whoever governs.
pub(super) fn of(connection: &StoreConnection, threads: &Handle) -> Result<Arc<dyn ObjectStore>, String> {
    let StoreConnection { address, secret, .. } = connection;
    let secret = from_utf8(secret.expose()).map_err(|_| "its secret is no text".to_owned())?;
    let url = Url::parse(&address.url).map_err(|e| e.to_string())?;
    match address.kind {
        StoreKind::S3 => s3(address, &url, secret, threads),
        StoreKind::Gcs => gcs(address, &url, secret, threads),
        StoreKind::Azure => azure(address, &url, secret, threads),
        StoreKind::Http => http(address, &url, secret, threads),
        StoreKind::Hdfs => hdfs(address, &url, threads),
    }
}

fn s3(address: &StoreAddress, url: &Url, secret: &str, threads: &Handle) -> Result<Arc<dyn ObjectStore>, String> {
    let mut builder = match &address.access {
        Access::Machine => AmazonS3Builder::from_env(),
        Access::Anonymous => AmazonS3Builder::new().with_skip_signature(true),
        Access::Secret { user } => {
            let user = user.as_deref().ok_or("it needs the access key that its secret belongs to")?;
            AmazonS3Builder::new().with_access_key_id(user).with_secret_access_key(secret)
        }
    };
    if let Some(endpoint) = &address.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(region) = &address.region {
        builder = builder.with_region(region);
    }
    let builder = builder.with_bucket_name(host(url)?).with_retry(retries()).with_client_options(options(address)?);
    let store = builder.with_http_connector(SpawnedReqwestConnector::new(threads.clone())).build();
    Ok(Arc::new(store.map_err(|e| e.to_string())?))
}

fn gcs(address: &StoreAddress, url: &Url, secret: &str, threads: &Handle) -> Result<Arc<dyn ObjectStore>, String> {
    let mut builder = match &address.access {
        Access::Machine => GoogleCloudStorageBuilder::from_env(),
        Access::Anonymous => GoogleCloudStorageBuilder::new().with_skip_signature(true),
        Access::Secret { .. } => GoogleCloudStorageBuilder::new().with_service_account_key(secret),
    };
    if let Some(endpoint) = &address.endpoint {
        builder = builder.with_base_url(endpoint);
    }
    let builder = builder.with_bucket_name(host(url)?).with_retry(retries()).with_client_options(options(address)?);
    let store = builder.with_http_connector(SpawnedReqwestConnector::new(threads.clone())).build();
    // Its message may quote the key that it does not understand.
    Ok(Arc::new(store.map_err(|_| "its secret must be the key of a service account, in JSON".to_owned())?))
}

fn azure(address: &StoreAddress, url: &Url, secret: &str, threads: &Handle) -> Result<Arc<dyn ObjectStore>, String> {
    let (container, account) = match (url.username(), host(url)?) {
        ("", container) => (container.to_owned(), user(&address.access).map(str::to_owned)),
        (container, host) => (container.to_owned(), host.split('.').next().map(str::to_owned)),
    };
    let account = account.ok_or("it needs the account: abfss://CONTAINER@ACCOUNT.dfs.core.windows.net, or --user")?;
    let mut builder = match &address.access {
        Access::Machine => MicrosoftAzureBuilder::from_env(),
        Access::Anonymous => MicrosoftAzureBuilder::new().with_skip_signature(true),
        Access::Secret { .. } if secret.contains("sig=") => {
            MicrosoftAzureBuilder::new().with_config(AzureConfigKey::SasKey, secret)
        }
        Access::Secret { .. } => MicrosoftAzureBuilder::new().with_access_key(secret),
    };
    if let Some(endpoint) = &address.endpoint {
        builder = builder.with_endpoint(endpoint.clone());
    }
    let builder = builder.with_account(account).with_container_name(container).with_retry(retries());
    let builder = builder.with_client_options(options(address)?);
    let store = builder.with_http_connector(SpawnedReqwestConnector::new(threads.clone())).build();
    Ok(Arc::new(store.map_err(|_| "its secret must be an access key or a shared access signature".to_owned())?))
}

fn http(address: &StoreAddress, url: &Url, secret: &str, threads: &Handle) -> Result<Arc<dyn ObjectStore>, String> {
    let mut options = options(address)?;
    let here = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    if matches!(address.access, Access::Secret { .. }) && url.scheme() != "https" && !here {
        return Err("its secret would be sent as it is: a web server is read with a secret over https".to_owned());
    }
    let authorization = match &address.access {
        Access::Machine => return Err("a web server is read with a secret or anonymously".to_owned()),
        Access::Anonymous => None,
        Access::Secret { user: None } => Some(format!("Bearer {secret}")),
        Access::Secret { user: Some(user) } => {
            Some(format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{secret}"))))
        }
    };
    if let Some(authorization) = authorization {
        let wrong = "its user or secret has characters that cannot be sent";
        let mut value = HeaderValue::from_str(&authorization).map_err(|_| wrong.to_owned())?;
        value.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert("authorization", value);
        options = options.with_default_headers(headers);
    }
    let mut root = url.clone();
    root.set_path("/");
    let builder = HttpBuilder::new().with_url(root).with_retry(retries()).with_client_options(options);
    let store = builder.with_http_connector(SpawnedReqwestConnector::new(threads.clone())).build();
    Ok(Arc::new(store.map_err(|e| e.to_string())?))
}

/// Its client takes user and tickets from the machine and nowhere else.
fn hdfs(address: &StoreAddress, url: &Url, threads: &Handle) -> Result<Arc<dyn ObjectStore>, String> {
    match address.access {
        Access::Machine => {}
        Access::Secret { .. } | Access::Anonymous => {
            return Err("HDFS is read as the user that Weir runs as, or by its Kerberos ticket: --machine".to_owned());
        }
    }
    let store = HdfsObjectStoreBuilder::new().with_url(&url[..url::Position::BeforePath]);
    let store = store.with_io_runtime(threads.clone()).build();
    Ok(Arc::new(store.map_err(|e| e.to_string())?))
}

fn host(url: &Url) -> Result<&str, String> {
    url.host_str().ok_or_else(|| "its URL has no host".to_owned())
}

fn retries() -> RetryConfig {
    let backoff =
        BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(2), base: 2. };
    RetryConfig { backoff, max_retries: RETRIES_MAX, retry_timeout: RETRY_TIME_MAX }
}

fn options(address: &StoreAddress) -> Result<ClientOptions, String> {
    let plain = [Some(&address.url), address.endpoint.as_ref()].into_iter().flatten();
    let plain = plain.into_iter().any(|url| url.starts_with("http://"));
    let mut options = ClientOptions::new()
        .with_allow_http(plain)
        .with_connect_timeout(CONNECT_TIME_MAX)
        .with_timeout(ANSWER_TIME_MAX);
    if let Some(authorities) = &address.authorities {
        let certificates = Certificate::from_pem_bundle(authorities.as_bytes());
        for certificate in certificates.map_err(|e| format!("its authorities cannot be read: {e}"))? {
            options = options.with_root_certificate(certificate);
        }
    }
    Ok(options)
}
