import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.state.WindowStore;

/**
 * The same candles by Kafka Streams: three tumbling windows in RocksDB with changelogs, one thread.
 *
 * <p>Arguments: BOOTSTRAP TOPIC RECORDS APPLICATION SCHEMA_FILE FOLDER. Prints a line of JSON: from the first record to
 * the moment when everything is stored, acknowledged and committed. The candles are what its changelogs hold.
 */
public final class Candles {
  private static final int HEADER_BYTES = 5;
  private static final Map<String, Long> INTERVALS_MS = Map.of("1m", 60_000L, "5m", 300_000L, "1d", 86_400_000L);

  /** The ticks are old: by its usual retention the broker would throw a changelog away before it is looked at. */
  private static final Map<String, String> KEPT = Map.of("retention.ms", "-1");

  record Tick(String symbol, double price, double size, long eventMs) {}

  record Row(double open, double high, double low, double close, double volume, long trades) {
    Row add(Tick t) {
      return new Row(open, Math.max(high, t.price), Math.min(low, t.price), t.price, volume + t.size, trades + 1);
    }
  }

  static final class TickReader implements Deserializer<Tick> {
    private final GenericDatumReader<GenericRecord> reader;
    private BinaryDecoder decoder;

    TickReader(Schema schema) {
      reader = new GenericDatumReader<>(schema);
    }

    @Override
    public Tick deserialize(String topic, byte[] data) {
      try {
        decoder = DecoderFactory.get().binaryDecoder(data, HEADER_BYTES, data.length - HEADER_BYTES, decoder);
        GenericRecord r = reader.read(null, decoder);
        return new Tick(
            r.get("symbol").toString(),
            (double) r.get("price"),
            (double) r.get("last_size"),
            (long) r.get("event_time"));
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }

  static final class RowSerde implements Serde<Row> {
    @Override
    public Serializer<Row> serializer() {
      return (topic, r) ->
          r == null
              ? null
              : ByteBuffer.allocate(48).putDouble(r.open).putDouble(r.high).putDouble(r.low).putDouble(r.close)
                  .putDouble(r.volume).putLong(r.trades).array();
    }

    @Override
    public Deserializer<Row> deserializer() {
      return (topic, data) -> {
        if (data == null) return null;
        ByteBuffer b = ByteBuffer.wrap(data);
        return new Row(b.getDouble(), b.getDouble(), b.getDouble(), b.getDouble(), b.getDouble(), b.getLong());
      };
    }
  }

  private static Properties settings(String bootstrap, String application, String folder) {
    Properties p = new Properties();
    p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
    p.put(StreamsConfig.APPLICATION_ID_CONFIG, application);
    p.put(StreamsConfig.STATE_DIR_CONFIG, folder);
    p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
    p.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 64L << 20);
    p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 1000); // as every contender; its default is 30 s
    p.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
    p.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
    p.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 5000);
    p.put(StreamsConfig.producerPrefix(ProducerConfig.ACKS_CONFIG), "all");
    return p;
  }

  public static void main(String[] a) throws Exception {
    String topic = a[1];
    long records = Long.parseLong(a[2]);
    Schema schema = new Schema.Parser().parse(Files.readString(Path.of(a[4])));
    long[] begun = new long[2];
    long[] seen = new long[1];
    CountDownLatch all = new CountDownLatch(1);

    Serde<Tick> ticks = Serdes.serdeFrom((t, d) -> null, new TickReader(schema));
    StreamsBuilder builder = new StreamsBuilder();
    KGroupedStream<String, Tick> grouped =
        builder
            .stream(topic, Consumed.with(Serdes.String(), ticks).withTimestampExtractor(Candles::eventTime))
            .peek((key, tick) -> {
              if (seen[0]++ == 0) {
                begun[0] = System.nanoTime();
                begun[1] = cpuNanos();
              }
              if (seen[0] == records) all.countDown();
            })
            .groupByKey(Grouped.with(Serdes.String(), ticks));
    INTERVALS_MS.forEach((name, lengthMs) ->
        grouped
            .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofMillis(lengthMs), Duration.ofMinutes(15)))
            .aggregate(
                () -> null,
                (key, t, row) ->
                    row == null ? new Row(t.price, t.price, t.price, t.price, t.size, 1) : row.add(t),
                Materialized.<String, Row, WindowStore<Bytes, byte[]>>as("c" + name)
                    .withKeySerde(Serdes.String())
                    .withValueSerde(new RowSerde())
                    .withRetention(Duration.ofDays(2))
                    .withLoggingEnabled(KEPT)));

    KafkaStreams streams = new KafkaStreams(builder.build(), settings(a[0], a[3], a[5]));
    streams.setUncaughtExceptionHandler(error -> {
      error.printStackTrace();
      Runtime.getRuntime().halt(1);
      return null;
    });
    streams.start();
    all.await();
    streams.close(); // finishes the record at hand, flushes stores and changelogs, commits
    double seconds = (System.nanoTime() - begun[0]) / 1e9;
    double cpu = (cpuNanos() - begun[1]) / 1e9;
    System.out.printf("{\"seconds\": %.6f, \"cpu_s\": %.6f, \"peak_mb\": %.1f}%n", seconds, cpu, peakMb());
    Runtime.getRuntime().halt(0);
  }

  private static long eventTime(ConsumerRecord<Object, Object> record, long partitionTime) {
    return ((Tick) record.value()).eventMs();
  }

  private static long cpuNanos() {
    return ProcessHandle.current().info().totalCpuDuration().orElseThrow().toNanos();
  }

  private static double peakMb() throws IOException {
    for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
      if (line.startsWith("VmHWM")) return Long.parseLong(line.replaceAll("\\D", "")) / 1024.0;
    }
    throw new IllegalStateException("no VmHWM");
  }
}
