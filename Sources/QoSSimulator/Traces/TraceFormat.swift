/// The formats of traces that are replayed.
public enum TraceFormat: String, Sendable, CaseIterable {
    /// `Timestamp,Hostname,DiskNumber,Type,Offset,Size,ResponseTime`: Windows file times of 100 ns, bytes.
    case msr
    /// `device_id,opcode,offset,length,timestamp`: microseconds, bytes.
    case alibaba
    /// `Timestamp,Offset,Size,IOType,VolumeID`: whole seconds, sectors of 512 bytes, 0 reads and 1 writes.
    case tencent
    /// fio's log of requests, version 2 with its waits, or version 3 with microseconds.
    case fio
    /// What `blkparse` prints: seconds with nanoseconds, sectors of 512 bytes; the events Q are replayed.
    case blkparse
    /// `time device lba sectors type`: sectors of 512 bytes, 0 writes and 1 reads; the unit of time is configured.
    case mqsim
}
