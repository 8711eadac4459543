import Logging

extension StorageHost {
    /// The host's logger, which says with each message what is being done, and to which volume of which pool.
    func logger(for operation: String, _ volume: VolumeAddress) -> Logger {
        var logger = logger
        logger[metadataKey: "operation"] = "\(operation)"
        logger[metadataKey: "pool"] = "\(volume.pool)"
        logger[metadataKey: "volume"] = "\(volume.reference)"
        return logger
    }

    /// Logs what happened to a volume.
    func log(
        _ level: Logger.Level, _ message: @autoclosure () -> Logger.Message, _ operation: String,
        _ volume: @autoclosure () -> VolumeAddress, _ more: @autoclosure () -> Logger.Metadata = [:]
    ) {
        guard logger.logLevel <= level else { return }
        logger(for: operation, volume()).log(level: level, message(), metadata: more())
    }
}
