import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.hbase.HBaseConfiguration;
import org.apache.hadoop.hbase.TableName;
import org.apache.hadoop.hbase.client.Admin;
import org.apache.hadoop.hbase.client.ColumnFamilyDescriptorBuilder;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.ConnectionFactory;
import org.apache.hadoop.hbase.client.TableDescriptorBuilder;
import org.apache.hadoop.hbase.master.HMaster;
import org.apache.hadoop.hbase.util.Bytes;

/** HBase in one process, with the tables of OpenTSDB; writes the file it is given when they are there. */
public class HBaseUp {
  /** Tables with their column families. */
  private static final Map<String, List<String>> TABLES = Map.of(
      "tsdb", List.of("t"),
      "tsdb-uid", List.of("id", "name"),
      "tsdb-tree", List.of("t"),
      "tsdb-meta", List.of("name"));

  public static void main(String[] arguments) throws Exception {
    Thread master = new Thread(() -> HMaster.main(new String[] {"start"}));
    master.start();
    try (Connection connection = ConnectionFactory.createConnection(HBaseConfiguration.create());
        Admin admin = connection.getAdmin()) {
      for (Map.Entry<String, List<String>> entry : TABLES.entrySet()) {
        TableDescriptorBuilder table = TableDescriptorBuilder.newBuilder(TableName.valueOf(entry.getKey()));
        for (String family : entry.getValue()) {
          table.setColumnFamily(ColumnFamilyDescriptorBuilder.newBuilder(Bytes.toBytes(family)).setMaxVersions(1).build());
        }
        admin.createTable(table.build());
      }
    }
    Files.writeString(Path.of(arguments[0]), "ready\n");
    master.join();
  }
}
