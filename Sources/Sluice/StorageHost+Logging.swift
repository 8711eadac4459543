import BlockStorage
import IORuntime
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

    /// Logs that an operation begins, and how it ends: with the time that it took, or with its error. That is no warning:
    /// the caller gets it, and knows what it means.
    func logging<Result>(
        _ operation: String, _ volume: VolumeAddress?, doneAt level: Logger.Level = .info,
        _ body: () async throws(StorageError) -> Result
    ) async throws(StorageError) -> Result {
        let volume = volume ?? VolumeAddress(pool: "", name: "")
        let start = MonotonicTime.nanoseconds()
        log(.debug, "begins", operation, volume)
        do throws(StorageError) {
            let result = try await body()
            let microseconds = (MonotonicTime.nanoseconds() &- start) / 1000
            log(level, "done", operation, volume, ["microseconds": "\(microseconds)"])
            return result
        } catch {
            log(.info, "failed: \(error)", operation, volume, ["code": "\(error.code.rawValue)"])
            throw error
        }
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
